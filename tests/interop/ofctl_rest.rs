//! The requests of Ryu's `ofctl_rest`: weft's controller and the library behind Ryu's (as os-ken carries it on) change and
//! describe the same switches.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use controller_api::client::Client;
use controller_api::{PortQueues, Problem, Queue, Rate};
use serde_json::{Map, Value, json};
use system_tests::{
    Ovs, Process, Sandbox, Weft, controller_command, wait_call as wait, wait_until, workspace_root,
};

/// Longest wait for anything to become true.
const DEADLINE: Duration = Duration::from_secs(60);

/// Of OpenFlow 1.4, which Ryu asks other switches for; written after `ryu/lib/ofctl_v1_4.py`.
const NOT_OF_13: &str = "queuedesc";

/// What goes on while one asks, and then the other.
const VOLATILE: [&str; 23] = [
    "duration_sec",
    "duration_nsec",
    "packet_count",
    "byte_count",
    "flow_count",
    "active_count",
    "lookup_count",
    "matched_count",
    "packet_in_count",
    "byte_in_count",
    "packet_band_count",
    "byte_band_count",
    "rx_packets",
    "tx_packets",
    "rx_bytes",
    "tx_bytes",
    "rx_dropped",
    "tx_dropped",
    "rx_errors",
    "tx_errors",
    "state",
    // Each of the two controllers has its own.
    "generation_id",
    "role",
];

fn folder() -> PathBuf {
    workspace_root().join("tests/interop/ofctl_rest")
}

fn wanted() -> Value {
    let text = std::fs::read_to_string(folder().join("changes.json")).expect("the changes are there");
    serde_json::from_str(&text).expect("the changes are JSON")
}

/// A weft controller that knows switches 1 and 2.
fn controller(sandbox: &Sandbox) -> (Process, Client) {
    let process = Weft::new(sandbox).spawn("controller", &["controller"]);
    let client = Client::unix(sandbox.run_dir().join("controller.sock"));
    wait_until(DEADLINE, "the controller's socket", || wait(client.health()).is_ok());
    (process, client)
}

fn switches_are_there(client: &Client) {
    wait_until(DEADLINE, "both switches", || {
        wait(client.get::<Vec<u64>>("/stats/switches")).is_ok_and(|dpids| dpids == [1, 2])
            && wait(client.switches()).is_ok_and(|all| all.iter().all(|switch| switch.realised))
    });
}

/// Applies the changes to switch 1, by weft.
fn change(client: &Client, wanted: &Value) {
    for change in wanted["changes"].as_array().expect("a list") {
        let (path, mut body) = (change[0].as_str().expect("a path"), change[1].clone());
        body["dpid"] = json!(1);
        let done = wait(client.post::<_, ()>(&format!("/stats/{path}"), &body));
        done.unwrap_or_else(|error| panic!("{path} {body}: {error}"));
    }
}

/// What weft answers about a switch, by request.
fn answers(client: &Client, dpid: u32, wanted: &Value) -> Map<String, Value> {
    let golden = std::fs::read_dir(folder().join("golden")).expect("the golden files are there");
    let names = golden.map(|file| file.expect("a file").file_name().to_string_lossy().replace(".json", ""));
    let ask = |name: String| {
        let answer: Value = match name.split_once('_') {
            Some((name, "filtered")) => {
                wait(client.post(&format!("/stats/{name}/{dpid}"), &wanted["filter"])).expect(name)
            }
            Some((name, number)) => wait(client.get(&format!("/stats/{name}/{dpid}/{number}"))).expect(name),
            None => wait(client.get(&format!("/stats/{name}/{dpid}"))).expect(&name),
        };
        (name, answer)
    };
    names.map(ask).collect()
}

/// Without what changes by itself, and without what serves intents of weft; lists in an order of their own.
fn still(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let member = |(key, value): (&String, &Value)| {
                let is_volatile = VOLATILE.contains(&key.as_str());
                (key.clone(), if is_volatile { json!("volatile") } else { still(value) })
            };
            Value::Object(object.iter().map(member).collect())
        }
        Value::Array(items) => {
            let is_weft = |item: &Value| {
                item["cookie"].as_u64().is_some_and(|cookie| cookie >> 48 == 0x7ef7)
                    || item["group_id"].as_u64().is_some_and(|group| group >> 24 == 0x7e)
            };
            let mut items: Vec<Value> = items.iter().filter(|item| !is_weft(item)).map(still).collect();
            // Actions are in order, all else is not.
            if items.iter().all(Value::is_object) {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// Keys and types alone: of a list the kinds of items that are in it.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(items) => {
            let kinds: BTreeSet<String> = items.iter().map(|item| shape(item).to_string()).collect();
            json!(kinds)
        }
        Value::String(_) => json!("text"),
        Value::Number(_) => json!("number"),
        Value::Bool(_) => json!("truth"),
        Value::Null => json!("null"),
    }
}

/// os-ken changes switch 2, and describes both.
fn os_ken(sandbox: &Sandbox) -> Value {
    let answers = sandbox.dir().join("answers.json");
    let mut command = controller_command("osken-manager");
    command.args(["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6654"]);
    command.arg(workspace_root().join("tests/interop/apps/ofctl_answers.py"));
    command.env("OFCTL_CHANGES", folder().join("changes.json")).env("OFCTL_ANSWERS", &answers);
    let mut process = Process::spawn(&mut command, &sandbox.dir().join("os-ken.log"));
    process.wait_for_log(DEADLINE, "the answers are written");
    let text = std::fs::read_to_string(answers).expect("the answers are written");
    serde_json::from_str(&text).expect("the answers are JSON")
}

/// The two say the same about both switches, and what each did to its own came to the same.
fn compare(client: &Client, theirs: &Value, wanted: &Value) {
    for dpid in ["1", "2"] {
        let mine = answers(client, dpid.parse().expect("a number"), wanted);
        for (name, mine) in mine.iter().filter(|(name, _)| *name != NOT_OF_13) {
            let theirs = &theirs[dpid][name.replace("_filtered", "?").replace('_', "/")];
            // Fields of Nicira's that tables of Open vSwitch match are not known to weft, PBB_UCA that tables of weft match is not
            // known to os-ken.
            if name != "tablefeatures" {
                assert_eq!(still(mine), still(theirs), "{name} of switch {dpid}");
            }
            assert_eq!(shape(&still(mine)), shape(&still(theirs)), "{name} of switch {dpid}");
        }
    }
    for name in ["flow", "groupdesc", "meterconfig"] {
        assert_eq!(still(&theirs["1"][name]["1"]), still(&theirs["2"][name]["2"]), "{name}");
    }
    let flows = still(&theirs["1"]["flow"]["1"]);
    assert!(flows.as_array().is_some_and(|flows| flows.len() >= 18), "{flows}");
}

#[test]
fn open_vswitch_is_changed_and_described_as_by_ryu() {
    let (sandbox, wanted) = (Sandbox::enter("ofctl-rest-ovs"), wanted());
    let ovs = Ovs::start(&sandbox);
    let (_controller, client) = controller(&sandbox);
    for n in ["1", "2"] {
        let (bridge, id) = (format!("br{n}"), format!("other_config:datapath-id=000000000000000{n}"));
        ovs.add_bridge(&bridge);
        for port in ["1", "2"] {
            let (name, request) = (format!("p{n}{port}"), format!("ofport_request={port}"));
            ovs.vsctl(&[
                "add-port",
                &bridge,
                &name,
                "--",
                "set",
                "interface",
                &name,
                "type=internal",
                &request,
            ]);
        }
        ovs.vsctl(&["set", "bridge", &bridge, &id]);
        let both = ["tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654"];
        ovs.vsctl(&[&["set-controller", &bridge][..], &both].concat());
    }
    switches_are_there(&client);
    change(&client, &wanted);
    compare(&client, &os_ken(&sandbox), &wanted);
}

/// Switches 1 and 2 of weft itself.
fn weft_switches(sandbox: &Sandbox, controllers: &[&str]) -> Vec<Process> {
    let switch = |n: &str| {
        let (p1, p2) = (format!("1=hosttap:p{n}1"), format!("2=hosttap:p{n}2"));
        let name = format!("s{n}");
        let mut args = vec!["switch", "--name", &name, "--dpid", n, "--port", &p1, "--port", &p2];
        for controller in controllers {
            args.extend(["--controller", *controller]);
        }
        Weft::new(sandbox).spawn(&name, &args)
    };
    ["1", "2"].map(switch).into()
}

/// A queue each, which no message of OpenFlow makes.
fn queues(sandbox: &Sandbox) {
    for name in ["s1", "s2"] {
        let client = Client::unix(sandbox.run_dir().join(format!("{name}.sock")));
        let queue = Queue { id: 1, min: rate("15M"), max: rate("18M"), weight: None };
        let queues = PortQueues { rate: rate("20M"), queues: vec![queue] };
        wait(client.set_queues(name, 1, &queues)).expect("a queue");
    }
}

fn rate(text: &str) -> Option<Rate> {
    Some(text.parse().expect("a rate"))
}

#[test]
fn a_weft_switch_is_changed_and_described_as_by_ryu() {
    let (sandbox, wanted) = (Sandbox::enter("ofctl-rest-weft"), wanted());
    let (_controller, client) = controller(&sandbox);
    let _switches = weft_switches(&sandbox, &["tcp:127.0.0.1:6653", "tcp:127.0.0.1:6654"]);
    switches_are_there(&client);
    queues(&sandbox);
    change(&client, &wanted);
    let theirs = os_ken(&sandbox);
    if std::env::var_os("WEFT_BLESS").is_some() {
        for (name, answer) in theirs["2"].as_object().expect("answers by request") {
            bless(&name.replace('?', "_filtered").replace('/', "_"), answer);
        }
    }
    compare(&client, &theirs, &wanted);
    for (name, golden) in golden_files().into_iter().filter(|(name, _)| name != NOT_OF_13) {
        let theirs = &theirs["2"][name.replace("_filtered", "?").replace('_', "/")];
        assert_eq!(shape(&golden), shape(&short(theirs)), "{name}: run this test with WEFT_BLESS=1");
    }
}

/// Every golden file.
fn golden_files() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(folder().join("golden")).expect("the golden files are there");
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("a golden file");
        (name, serde_json::from_str(&text).expect("golden files are JSON"))
    };
    files.map(|file| read(file.expect("a file").path())).collect()
}

/// Without flows of weft, and with two tables of the 254.
fn short(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(items) = answer["2"].as_array_mut() {
        items.retain(|item| item["cookie"].as_u64().is_none_or(|cookie| cookie >> 48 != 0x7ef7));
        if items.iter().any(|item| item.get("table_id").is_some() && item.get("match").is_none()) {
            items.truncate(2);
        }
    }
    answer
}

fn bless(name: &str, answer: &Value) {
    let folder = folder().join("golden");
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let text = serde_json::to_string_pretty(&short(answer)).expect("JSON") + "\n";
    std::fs::write(folder.join(format!("{name}.json")), text).expect("the golden file can be written");
}

/// Without os-ken: the golden files are what it said.
#[test]
fn every_request_of_ryus_page_has_the_keys_and_types_of_the_golden_files() {
    let (sandbox, wanted) = (Sandbox::enter("ofctl-rest-golden"), wanted());
    let (_controller, client) = controller(&sandbox);
    let _switches = weft_switches(&sandbox, &["tcp:127.0.0.1:6653"]);
    switches_are_there(&client);
    queues(&sandbox);
    change(&client, &wanted);
    let mine = answers(&client, 1, &wanted);
    assert!(mine.len() >= 24, "{:?}", mine.keys());
    for (name, golden) in golden_files() {
        let mut mine = mine[&name].clone();
        // Told under the dpid, which is another one here.
        mine = json!({"2": mine["1"]});
        assert_eq!(shape(&short(&mine)), shape(&golden), "{name}");
    }

    // What serves intents stays, whatever is asked for, and so does the connection.
    let own = || {
        let flows = wait(client.flows("s1")).expect("the switch answers");
        flows.into_iter().filter(|flow| flow.owner == controller_api::FlowOwner::Intent).count()
    };
    let before = own();
    wait(client.delete::<()>("/stats/flowentry/clear/1")).expect("cleared");
    assert_eq!((own(), before > 0), (before, true));
    let left: Value = wait(client.get("/stats/flow/1")).expect("the switch answers");
    assert_eq!(still(&left), json!({"1": []}));
    let groups = json!({"dpid": 1, "group_id": "ALL"});
    wait(client.post::<_, ()>("/stats/groupentry/delete", &groups)).expect("no group is left");
    assert_eq!(still(&wait(client.get("/stats/groupdesc/1")).expect("it answers")), json!({"1": []}));

    let problem = |path: &str, body: Value| -> (u16, Option<String>) {
        let error = wait(client.post::<_, ()>(path, &body)).expect_err("a mistake");
        let Problem { status, pointer, .. } = error.problem().expect("a problem").clone();
        (status, pointer)
    };
    let add = "/stats/flowentry/add";
    assert_eq!(problem(add, json!({"dpid": 9})), (404, None));
    assert_eq!(problem(add, json!({})), (422, Some("/dpid".to_owned())));
    assert_eq!(
        problem(add, json!({"dpid": 1, "match": {"colour": 1}})),
        (422, Some("/match/colour".to_owned()))
    );
    assert_eq!(problem("/stats/flowentry/paint", json!({"dpid": 1})).0, 404);
    assert_eq!(
        problem(add, json!({"dpid": 1, "table_id": 254, "actions": [{"type": "GOTO_TABLE", "table_id": 3}]}))
            .0,
        422
    );
    // The flow that takes discovery frames to the controller.
    let lldp = json!({"dl_type": 35020, "dl_dst": "01:80:c2:00:00:0e"});
    let discovery = json!({"dpid": 1, "priority": 1000, "match": lldp});
    assert_eq!(problem(add, discovery).0, 409);

    // A role is asked for and held; as a slave the controller says that it waits.
    let role =
        || wait(client.get::<Value>("/stats/role/1")).expect("the switch answers")["1"][0]["role"].clone();
    assert_eq!(role(), json!("MASTER"));
    wait(client.post::<_, ()>("/stats/role", &json!({"dpid": 1, "role": "SLAVE"}))).expect("a role");
    assert_eq!(role(), json!("SLAVE"));
    assert!(wait(client.switches()).expect("it answers").iter().any(|switch| !switch.realised));
    wait(client.post::<_, ()>("/stats/role", &json!({"dpid": 1, "role": "MASTER"}))).expect("a role");
    wait_until(DEADLINE, "both switches", || {
        wait(client.switches()).is_ok_and(|all| all.iter().all(|switch| switch.realised))
    });
}
