"""What somebody may write who means no good."""

FORMULA = '=HYPERLINK("https://evil.example","click")'
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TURNED = "zzz\u202etxet\u2066 after"
CONTROLS = "zz\x00q\x07\x1b[31m red\x7f\u0085"
LONG = "zzyx " * 2000  # 10,000 characters
ALL = (FORMULA, SCRIPT, TURNED, CONTROLS, LONG)
