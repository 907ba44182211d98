"""What only a real browser can tell. `make browser`; needs /usr/bin/chromium."""
