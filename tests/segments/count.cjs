// Reads a JSON list of texts on standard input; prints what Twilio's own calculator makes of each.
const { SegmentedMessage } = require('sms-segments-calculator');
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const counted = texts.map((text) => {
  const message = new SegmentedMessage(text, 'auto', false);
  return [message.encodingName, message.segmentsCount];
});
console.log(JSON.stringify(counted));
