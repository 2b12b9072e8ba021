"""What os-ken's ofctl library (that of Ryu's ofctl_rest) makes of switches 1 and 2.

Applies the changes of OFCTL_CHANGES (a list of [path, body], as ofctl_rest takes them) to switch 2, then writes what it
answers to each request about both switches to OFCTL_ANSWERS: {dpid: {request: answer}}.
"""

import json
import os

from os_ken.base.app_manager import OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub, ofctl_v1_3
from os_ken.ofproto import ofproto_v1_3

REPLIES = [
    ofp_event.EventOFPDescStatsReply, ofp_event.EventOFPFlowStatsReply, ofp_event.EventOFPAggregateStatsReply,
    ofp_event.EventOFPTableStatsReply, ofp_event.EventOFPTableFeaturesStatsReply, ofp_event.EventOFPPortStatsReply,
    ofp_event.EventOFPQueueStatsReply, ofp_event.EventOFPQueueGetConfigReply, ofp_event.EventOFPMeterStatsReply,
    ofp_event.EventOFPMeterFeaturesStatsReply, ofp_event.EventOFPMeterConfigStatsReply,
    ofp_event.EventOFPGroupStatsReply, ofp_event.EventOFPGroupFeaturesStatsReply, ofp_event.EventOFPGroupDescStatsReply,
    ofp_event.EventOFPPortDescStatsReply, ofp_event.EventOFPRoleReply,
]

SIMPLE = {
    "desc": "get_desc_stats", "flow": "get_flow_stats", "aggregateflow": "get_aggregate_flow_stats",
    "table": "get_table_stats", "tablefeatures": "get_table_features", "port": "get_port_stats",
    "portdesc": "get_port_desc", "queue": "get_queue_stats", "queueconfig": "get_queue_config",
    "groupfeatures": "get_group_features", "groupdesc": "get_group_desc", "group": "get_group_stats",
    "meterfeatures": "get_meter_features", "meterconfig": "get_meter_config", "meter": "get_meter_stats",
    "role": "get_role",
}
# Of one port, group or meter.
NUMBERED = {"port": ("get_port_stats", 1), "queueconfig": ("get_queue_config", 1),
            "group": ("get_group_stats", 1), "meter": ("get_meter_stats", 1), "meterconfig": ("get_meter_config", 1)}
FILTERED = {"flow": "get_flow_stats", "aggregateflow": "get_aggregate_flow_stats"}
COMMANDS = {
    "flowentry": ("mod_flow_entry", "OFPFC_"), "groupentry": ("mod_group_entry", "OFPGC_"),
    "meterentry": ("mod_meter_entry", "OFPMC_"),
}


class Answers(OSKenApp):
    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.waiters, self.switches = {}, {}
        hub.spawn(self.work)

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def switch_is_here(self, event):
        self.switches[event.msg.datapath.id] = event.msg.datapath

    @set_ev_cls(REPLIES, MAIN_DISPATCHER)
    def reply(self, event):
        message = event.msg
        waiting = self.waiters.get(message.datapath.id, {})
        if message.xid not in waiting:
            return
        lock, messages = waiting[message.xid]
        messages.append(message)
        if getattr(message, "flags", 0) & ofproto_v1_3.OFPMPF_REPLY_MORE:
            return
        del waiting[message.xid]
        lock.set()

    def work(self):
        while len(self.switches) < 2 or any(s.state != MAIN_DISPATCHER for s in self.switches.values()):
            hub.sleep(0.05)
        with open(os.environ["OFCTL_CHANGES"]) as file:
            wanted = json.load(file)
        second = self.switches[2]
        for path, body in wanted["changes"]:
            self.change(second, path, body)
        answers = {str(dpid): self.answers(switch, wanted["filter"]) for dpid, switch in self.switches.items()}
        with open(os.environ["OFCTL_ANSWERS"], "w") as file:
            json.dump(answers, file)
        self.logger.warning("the answers are written")

    def change(self, switch, path, body):
        kind, command = path.split("/")
        if kind == "portdesc":
            # As ofctl_rest does: what is not said is as the switch describes it.
            ports = ofctl_v1_3.get_port_desc(switch, self.waiters)[str(switch.id)]
            known = next(port for port in ports if port["port_no"] == body["port_no"])
            body = {"hw_addr": known["hw_addr"], "advertise": known["advertised"], **body}
            return ofctl_v1_3.mod_port_behavior(switch, body)
        function, prefix = COMMANDS[kind]
        getattr(ofctl_v1_3, function)(switch, body, getattr(switch.ofproto, prefix + command.upper()))

    def answers(self, switch, wanted):
        answers = {}
        for name, function in SIMPLE.items():
            answers[name] = getattr(ofctl_v1_3, function)(switch, self.waiters)
        for name, (function, number) in NUMBERED.items():
            answers[f"{name}/{number}"] = getattr(ofctl_v1_3, function)(switch, self.waiters, number)
        for name, function in FILTERED.items():
            answers[f"{name}?"] = getattr(ofctl_v1_3, function)(switch, self.waiters, dict(wanted))
        return answers
