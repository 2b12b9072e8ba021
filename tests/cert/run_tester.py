"""Starts os-ken's OpenFlow switch tester as its own command line no longer does; arguments are os-ken's options.

What the cases send, expect and measure is os-ken's. Of the tester these are replaced:

- How packets are sent at a rate. os-ken sleeps 10 ms, sends a hundredth of a second's packets, builds each anew, and never makes up
  for being late, so that it stays far below its rate on a busy machine and below 20,000 a second on any. Here as many are
  sent as the clock says are due.
- With CERT_MEND_TESTER, two mistakes of os-ken 4.2.2; see docs/conformance.md. The checksum of SCTP packets is the CRC32c of the
  text that Python 3 shows for the packet, "bytearray(b'...')", instead of its bytes (RFC 9260 section 6.8). And a flow that comes back
  from the switch is compared as text, so that 0::20 and ::20 are not the same; here both are read from their bytes.
"""
import logging
import logging.handlers
import os
import sys
import time

from os_ken.lib import hub

hub.patch(thread=False)

from os_ken import cfg, flags, log  # noqa: E402,F401
from os_ken.base.app_manager import AppManager  # noqa: E402
from os_ken.lib.packet import sctp  # noqa: E402

TESTER = "os_ken.tests.switch.tester"
TICK = 0.01  # Seconds between two sends.


def packet_out(switch, datapath, data):
    """The bytes of the message that has the tester's switch send `data`."""
    ofproto, parser = datapath.ofproto, datapath.ofproto_parser
    actions = [parser.OFPActionOutput(switch.tester_send_port)]
    message = parser.OFPPacketOut(
        datapath=datapath, buffer_id=ofproto.OFP_NO_BUFFER, data=data, in_port=ofproto.OFPP_CONTROLLER, actions=actions
    )
    datapath.set_xid(message)
    message.serialize()
    return bytes(message.buf)


def send_at_rate(app, pkt):
    """Sends the packets of a case as fast as it says, for as long as it says."""
    packets = pkt["packets"]
    rate, seconds = packets["pktps"], packets["duration_time"]
    datapath = app.tester_sw.dp
    text = compile("/".join(packets["packet_text"]), "case", "eval")

    def messages(count):
        if not packets["randomize"]:
            return fixed * count
        made = []
        for _ in range(count):
            one = eval(text, vars(sys.modules[TESTER]))
            one.serialize()
            made.append(packet_out(app.tester_sw, datapath, one.data))
        return b"".join(made)

    fixed = packet_out(app.tester_sw, datapath, packets["packet_binary"])
    # What was missed is made up for at twice the rate, so that no queue on the way runs over.
    most = max(1, int(2 * rate * TICK))
    start, sent = time.monotonic(), 0
    while sent < rate * seconds:
        due = int(min(time.monotonic() - start, seconds) * rate)
        count = min(due - sent, most)
        if count > 0 and not datapath.send(messages(count)):
            raise RuntimeError("the tester's switch is gone")
        sent += max(count, 0)
        hub.sleep(TICK)


def checksum_of_bytes(self, data):
    """CRC32c of the bytes, by the table that os-ken has for text."""
    return CHECKSUM_OF_TEXT(self, Latin1(data))


class Latin1:
    """Bytes that show themselves as one character each."""

    def __init__(self, data):
        self.data = data

    def __str__(self):
        return self.data.decode("latin-1")


CHECKSUM_OF_TEXT = sctp.sctp._checksum


def compare_flow_as_read(self, told, asked):
    """Compares a flow that the switch told with the one it was asked for, read from the bytes that asked."""
    match = asked.match
    if hasattr(match, "parser"):  # 1.0 has no fields under masks.
        buffer = bytearray()
        match.serialize(buffer, 0)
        asked.match = type(match).parser(bytes(buffer), 0)
    try:
        return COMPARE_FLOW(self, told, asked)
    finally:
        asked.match = match


log.early_init_log(logging.INFO)
cfg.CONF(args=sys.argv[1:], project="os_ken", default_config_files=[])
log.init_log()
logging.getLogger(TESTER).setLevel(logging.INFO)
__import__(TESTER)
OfTester = sys.modules[TESTER].OfTester
RUN_ALL = OfTester._test_sequential_execute


def run_all_or_end(self, folder):
    """os-ken would wait forever behind a case that it cannot cope with."""
    try:
        RUN_ALL(self, folder)
    except Exception:
        logging.getLogger(TESTER).exception("the tester failed")
        os._exit(1)


OfTester._test_sequential_execute = run_all_or_end
OfTester._continuous_packet_send = send_at_rate
COMPARE_FLOW = OfTester._compare_flow
if os.environ.get("CERT_MEND_TESTER"):
    sctp.sctp._checksum = checksum_of_bytes
    OfTester._compare_flow = compare_flow_as_read
AppManager.run_apps([TESTER])
