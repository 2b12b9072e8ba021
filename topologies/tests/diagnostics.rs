//! Files that are wrong: what is said, and where. Each case is a small change to a file that is right.

use std::path::Path;

const RIGHT: &str = "\
name: lab
nodes:
  s1: {kind: switch}
  s2: {kind: switch}
  r1: {kind: router}
  fw: {kind: function, function: firewall, rules: [\"deny tcp dst-port 23\"]}
  h1: {kind: host, interfaces: {eth0: {address: 10.0.0.1/24}}, gateway: 10.0.0.254}
  h2: {kind: host, interfaces: {eth0: {address: 10.0.0.2/24}}}
links:
  - endpoints: [\"h1:eth0\", \"s1:1\"]
  - endpoints: [\"h2:eth0\", \"s2:1\"]
  - endpoints: [\"s1:3\", \"s2:3\"]
  - endpoints: [\"s1:4\", \"r1:lan\"]
  - endpoints: [\"fw:in\", \"s1:5\"]
  - endpoints: [\"fw:out\", \"s1:6\"]
networks:
  - {name: blue, vlan: 10, ports: [\"h1:eth0\", \"h2:eth0\", \"s1:4\"]}
routers:
  - {name: r1, interfaces: [{name: lan, address: 10.0.0.254/24}], nat: {masquerade: [{out: lan}]}}
chains:
  - {name: web, from: [h1], to: [h2], functions: [fw]}
tests:
  - ping: {from: h1, to: h2}
  - throughput: {from: h1, to: h2, at_least: 1G}
policies:
  - {name: in, priority: 20, action: allow, from: [\"s1:1\"], to: [\"s2:1\"], protocol: tcp, ports: [80]}
  - {name: rest, priority: 10, action: deny, to: [h2]}
qos:
  - {name: gold, ports: [h1], networks: [blue], rate: 20M, queue: 1}
  - {name: tin, ports: [h2], rate: 1M, burst: 3000}
paths:
  - {name: gold, from: h1, to: h2, via: [s1]}
tenants:
  - {name: acme, rate: 100M}
";

fn complaints(text: &str) -> Vec<String> {
    match topology::parse("lab.yaml", text, Path::new("")) {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.lines(),
    }
}

#[test]
fn the_file_the_cases_start_from_is_right() {
    assert_eq!(complaints(RIGHT), Vec::<String>::new());
}

/// What is replaced, by what, and the whole line that must come out.
const CASES: &[(&str, &str, &str)] = &[
    ("via: [s1]", "via: [h1]", "32:42: path gold: node \"h1\" is a host, not a switch; did you mean \"s1\"?"),
    (
        "{name: r1, interfaces",
        "{name: r1, shadow: h3, interfaces",
        "19:24: router r1: no host \"h3\", in whose namespace the routing daemons would run; did you mean \"h1\"?",
    ),
    (
        "interfaces: [{name: lan, address: 10.0.0.254/24}], nat: {masquerade: [{out: lan}]}",
        "shadow: h1, interfaces: [{name: lan-of-the-office, port: lan, address: 10.0.0.254/24}]",
        "19:48: router r1: \"lan-of-the-office\" is not an interface name: 1 to 15 characters without \"/\", \":\", \"%\" and \
         white space are expected; its shadow has the same name: give it another, and the old one as `port`",
    ),
    ("via: [s1]", "via: [s1], avoid: [s1]", "32:42: path gold: switch s1 is to be avoided, too"),
    ("from: h1, to: h2, via", "from: h1, to: h1, via", "32:32: path gold: s1:1 is at both ends"),
    (
        "from: h1, to: h2, via",
        "from: fw, to: h2, via",
        "32:24: path gold: fw has 2 ports; name one of them: s1:5, s1:6",
    ),
    ("ports: [h2], rate", "ports: [h1], rate", "30:25: qos tin: port s1:1 is limited twice"),
    (
        "networks: [blue], rate",
        "networks: [blu], rate",
        "29:42: qos gold: no network \"blu\"; did you mean \"blue\"?",
    ),
    ("rate: 1M, burst: 3000", "queue: 1, burst: 3000", "30:40: qos tin: a burst needs a rate"),
    (
        "rate: 1M, burst: 3000",
        "burst: 3000",
        "30:5: qos tin: it says neither a rate nor a queue; write `rate: 20M`",
    ),
    ("rate: 1M", "rate: \"999\"", "30:36: qos tin: the lowest rate is 1k"),
    ("rate: 100M", "rate: \"999\"", "34:24: tenant acme: the lowest rate is 1k"),
    ("rate: 100M", "burst: 3000", "34:18: tenant acme: a burst needs a rate"),
    (
        "priority: 10",
        "priority: 20",
        "27:28: policy rest: priority 20 is used twice; give each policy a priority of its own",
    ),
    ("priority: 20", "priority: 65534", "26:26: policy in: the highest priority is 65533"),
    ("protocol: tcp, ", "", "26:75: policy in: only tcp and udp have ports; write `protocol: tcp`"),
    ("ports: [80]", "ports: [80, 0]", "26:102: policy in: 0 is not a port: 1 to 65535"),
    ("deny, to: [h2]", "deny, to: [h3]", "27:51: policy rest: no node \"h3\"; did you mean \"h1\"?"),
    (
        "action: deny",
        "action: drop",
        "27:40: policy rest: unknown word \"drop\"; there is \"allow\", \"deny\" and \"reject\"",
    ),
    ("\"s1:1\"]", "\"s9:1\"]", "10:29: link h1:eth0 -- s9:1: no node \"s9\"; did you mean \"s1\"?"),
    (
        "[\"h1:eth0\", \"s1:1\"]",
        "[\"h1:eth1\", \"s1:1\"]",
        "10:21: link h1:eth1 -- s1:1: h1 has no interface \"eth1\"; did you mean \"eth0\"?",
    ),
    (
        "\"s2:3\"]",
        "\"s2:uplink\"]",
        "12:29: link s1:3 -- s2:uplink: \"uplink\" is not a port of a switch; the ports of s2 are numbers from 1: write \"s2:1\"",
    ),
    ("\"s1:4\", \"r1:lan\"", "\"s1:3\", \"r1:lan\"", "13:17: link s1:3 -- r1:lan: s1:3 is used twice"),
    ("\"s1:3\", \"s2:3\"", "\"s1:3\", \"s1:7\"", "12:25: link s1:3 -- s1:7: it joins s1 to itself"),
    ("\"s1:3\", \"s2:3\"", "\"s1:3\"", "12:16: link 3: a link has two ends; write [\"h1:eth0\", \"s1:1\"]"),
    (
        "\"s1:3\", \"s2:3\"",
        "s1, \"s2:3\"",
        "12:17: link s1 -- s2:3: expected NODE:PORT such as s1:1, found \"s1\"",
    ),
    ("s2: {kind: switch}", "s2: {kind: swich}", "4:14: node s2: no kind \"swich\"; did you mean \"switch\"?"),
    (
        "s2: {kind: switch}",
        "s2: {}",
        "4:3: node s2: \"kind\" is missing; it is one of \"switch\", \"host\", \"router\", \"function\" and \"vm\"",
    ),
    (
        "s2: {kind: switch}",
        "s2: switch",
        "4:3: node s2: a map with the key kind is expected; write `s2: {kind: host}`",
    ),
    (
        "s2: {kind: switch}",
        "s2: {kind: switch, dpid: xyz}",
        "4:28: node s2: expected a datapath id of up to 16 hexadecimal digits, found \"xyz\"",
    ),
    (
        "s2: {kind: switch}",
        "s2: {kind: switch, failmode: secure}",
        "4:22: node s2: unknown key \"failmode\"; did you mean \"fail_mode\"?",
    ),
    (
        "{kind: switch}\n  s2: {kind: switch}",
        "{kind: switch, dpid: \"7\"}\n  s2: {kind: switch, dpid: \"7\"}",
        "4:28: node s2: the dpid 0000000000000007 is taken by s1",
    ),
    (
        "address: 10.0.0.1/24",
        "adress: 10.0.0.1/24",
        "7:40: node h1: unknown key \"adress\"; did you mean \"address\"?",
    ),
    (
        "address: 10.0.0.1/24",
        "address: 10.0.0.1",
        "7:49: node h1: expected an address and prefix length such as 10.1.0.1/24, found \"10.0.0.1\"",
    ),
    (
        "address: 10.0.0.1/24",
        "address: 10.0.0.0/24",
        "7:49: interface h1:eth0: 10.0.0.0 is the address of the network 10.0.0.0/24 itself",
    ),
    (
        "address: 10.0.0.1/24",
        "address: 10.0.0.255/24",
        "7:49: interface h1:eth0: 10.0.0.255 is the broadcast address of 10.0.0.0/24",
    ),
    ("address: 10.0.0.2/24", "address: 10.0.0.1/24", "8:49: interface h2:eth0: 10.0.0.1 is taken by h1:eth0"),
    (
        "address: 10.0.0.2/24",
        "address: 10.0.0.2/16",
        "8:49: interface h2:eth0: 10.0.0.2/16 overlaps the subnet of h1:eth0; give both the same prefix length, or disjoint subnets",
    ),
    (
        "gateway: 10.0.0.254",
        "gateway: 10.0.1.254",
        "7:73: node h1: 10.0.1.254 is outside the subnets of h1 (10.0.0.0/24); did you mean 10.0.0.254?",
    ),
    (
        "gateway: 10.0.0.254",
        "gateway: 10.0.0.253",
        "7:73: node h1: nobody in its segment has the address 10.0.0.253; did you mean 10.0.0.254?",
    ),
    (
        "address: 10.0.0.1/24}",
        "address: 10.0.0.1/24, mtu: 20}",
        "7:67: interface h1:eth0: mtu 20: 68 to 65521 are possible",
    ),
    (
        "address: 10.0.0.1/24}",
        "address: 10.0.0.1/24, mtu: big}",
        "7:67: node h1: \"mtu\" is text \"big\", a whole number is expected",
    ),
    (
        "\"s1:1\"]",
        "\"s1:1\"]\n    mtu: 65535",
        "11:10: link h1:eth0 -- s1:1: mtu 65535: 68 to 65521 are possible",
    ),
    (
        "endpoints: [\"h1:eth0\", \"s1:1\"]",
        "\"h1:eth0 s1:1\"",
        "10:5: link 1: it is text \"h1:eth0 s1:1\", a map of keys and values is expected; write `- endpoints: [\"h1:eth0\", \"s1:1\"]`",
    ),
    ("  s2: {kind: switch}", "  s/2: {kind: switch}", "4:3: a name must not contain \"/\": \"s/2\""),
    ("vlan: 10", "vlan: 4095", "17:24: network blue: vlan 4095: 1 to 4094 are possible"),
    (
        "vlan: 10",
        "vlan: 70000",
        "17:24: network blue: \"vlan\" is 70000, a whole number from 1 to 4094 is expected",
    ),
    (
        "ports: [\"h1:eth0\"",
        "ports: [\"h3:eth0\"",
        "17:37: network blue: no node \"h3\"; did you mean \"h1\"?",
    ),
    (
        "\"s1:4\"]}\nrouters",
        "\"s1:9\"]}\nrouters",
        "17:62: network blue: nothing is plugged into s1:9; there is \"1\", \"3\", \"4\", \"5\" and \"6\"",
    ),
    (
        "- {name: r1, ",
        "- {name: s1, ",
        "19:12: router s1: node \"s1\" is a switch, not a router; did you mean \"r1\"?",
    ),
    (
        "{name: lan, address",
        "{name: wan, address",
        "19:36: router r1: nothing is plugged into port \"wan\"; did you mean \"lan\"?",
    ),
    ("{out: lan}", "{out: wan}", "19:92: router r1: no interface \"wan\"; did you mean \"lan\"?"),
    (
        "functions: [fw]",
        "functions: [h1]",
        "21:51: chain web: node \"h1\" is a host, not a function; there is \"fw\"",
    ),
    ("from: [h1], to", "from: [r2], to", "21:24: chain web: no node \"r2\"; did you mean \"s2\"?"),
    (
        "  - endpoints: [\"fw:out\", \"s1:6\"]\n",
        "",
        "6:3: node fw: the function has no link at \"out\"; add `- endpoints: [\"fw:out\", \"SWITCH:PORT\"]` to links",
    ),
    (
        "\"fw:out\"",
        "\"fw:exit\"",
        "15:21: link fw:exit -- s1:6: the function fw has no interface \"exit\"; there is \"in\" and \"out\"",
    ),
    (
        "function: firewall, ",
        "",
        "6:3: node fw: \"function\" or \"exec\" is missing; write `function: forward`, `firewall` or `inspect`",
    ),
    (
        "ping: {from: h1, to: h2}",
        "ping: {from: h1, to: h7}",
        "23:26: test 1, ping: no node \"h7\"; did you mean \"h1\"?",
    ),
    (
        "ping: {from: h1, to: h2}",
        "pong: {from: h1, to: h2}",
        "23:5: test 1: unknown key \"pong\"; did you mean \"ping\"?",
    ),
    ("ping: {from: h1, to: h2}", "ping: {from: h1}", "23:5: test 1: \"to\" is missing"),
    (
        "ping: {from: h1, to: h2}",
        "ping: {from: s1, to: h2}",
        "23:18: test 1, ping: a switch does not run this test; name a host or vm",
    ),
    (
        "at_least: 1G",
        "at_least: fast",
        "24:46: test 2, throughput: \"fast\" is not a rate; write bits a second such as 500M or 2G",
    ),
    ("name: lab\n", "", "1:1: \"name\" is missing; write `name: my-lab`"),
    (
        "name: lab\n",
        "name: my lab\n",
        "1:7: lab my lab: a name has letters, digits, \"-\" and \"_\" and begins with a letter or digit",
    ),
    ("name: lab\n", "name: 12\n", "1:7: \"name\" is 12, a string is expected; put it in quotes"),
    ("links:", "link:", "9:1: unknown key \"link\"; did you mean \"links\"?"),
    ("  h2: {kind", "  h1: {kind", "8:3: \"h1\" is written twice"),
    (
        "h1: {kind: host, interfaces: {eth0:",
        "h1: {kind: host, interfaces: {a-very-long-interface:",
        "7:33: interface h1:a-very-long-interface: the name has 21 characters, an interface has at most 15",
    ),
];

#[test]
fn each_slip_is_named_with_its_place_and_the_way_out() {
    let mut failed = Vec::new();
    for (from, to, expected) in CASES {
        assert!(RIGHT.contains(from), "{from}");
        let found = complaints(&RIGHT.replacen(from, to, 1));
        let expected = format!("lab.yaml:{expected}");
        if !found.contains(&expected) {
            failed.push(format!(
                "{from} -> {to}\n  expected {expected}\n  found    {}",
                found.join("\n           ")
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn several_slips_are_reported_at_once_in_order() {
    let text = RIGHT.replace("\"s1:1\"]", "\"s9:1\"]").replace("\"s2:1\"]", "\"s8:1\"]");
    let found = complaints(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("s9") && found[1].contains("s8"), "{found:?}");
}

#[test]
fn every_example_is_right() {
    for (name, text) in topology::EXAMPLES {
        let result = topology::parse(name, text, Path::new("topologies"));
        assert!(result.is_ok(), "{}", result.unwrap_err().render(false));
    }
}

#[test]
fn nothing_that_is_written_makes_it_panic() {
    for (_, text) in topology::EXAMPLES.into_iter().chain([("right", RIGHT)]) {
        for (end, _) in text.char_indices() {
            let _ = topology::parse("cut.yaml", &text[..end], Path::new("")).map_err(|d| d.render(true));
        }
    }
    for text in
        ["", "\0", "- a", "a: [", "nodes: 3\nname: x", "? [a]\n: b", "\u{feff}name: x", "name: !!binary x"]
    {
        let _ = topology::parse("odd.yaml", text, Path::new("")).map_err(|d| d.render(false));
    }
}

#[test]
fn intents_are_read_alone_or_out_of_a_topology() {
    let read = |text: &str| topology::parse_intents("net.yaml", text, Path::new(""));
    let whole = read(RIGHT).unwrap();
    let names: Vec<String> = whole.into_resources().map(|resource| resource.label().to_string()).collect();
    let others = ["policy/in", "policy/rest", "qos/gold", "qos/tin", "path/gold", "tenant/acme"];
    assert_eq!(names[..4], ["network/blue", "router/r1", "function/fw", "chain/web"]);
    assert_eq!(names[4..], others);
    let alone = read("networks:\n  - {name: red, vlan: 20, ports: [\"s1:1\"]}\n").unwrap();
    assert_eq!(alone.networks[0].ports[0].to_string(), "s1:1");

    let complaints = |text: &str| read(text).unwrap_err().lines();
    let wrong = complaints("networks:\n  - {name: red, vlan: 20, colour: 1}\nnetwrks: []\n");
    assert!(wrong.iter().any(|line| line.starts_with("net.yaml:2:") && line.contains("colour")), "{wrong:?}");
    assert!(wrong.iter().any(|line| line.contains("netwrks") && line.contains("networks")), "{wrong:?}");
    assert_eq!(complaints("- 1\n").len(), 1);
}

#[test]
fn the_file_of_a_router_is_read_as_well() {
    let complaints = |text: &str, name| match topology::parse_router("r.yaml", text, name) {
        Ok(router) => vec![router.name],
        Err(diagnostics) => diagnostics.lines(),
    };
    let interface = "interfaces:\n  - {name: lan, address: 10.0.0.1/24}\n";
    assert_eq!(complaints(interface, Some("r1")), ["r1"]);
    assert_eq!(complaints(&format!("name: r2\n{interface}"), Some("r1")), ["r2"]);
    for (text, wanted) in [
        (interface, "r.yaml:1:1: \"name\" is missing"),
        (
            "name: r1\ninterfaces:\n  - {name: lan, adress: 10.0.0.1/24}\n",
            "r.yaml:3:17: unknown key \"adress\"; did you mean \"address\"?",
        ),
        (
            "name: r1\ninterfaces:\n  - {name: lan, vlan: 70000}\n",
            "r.yaml:3:23: \"vlan\" is 70000, a whole number from 1 to 4094 is expected",
        ),
        ("[]\n", "r.yaml:1:1: a router is a map with the keys name, interfaces and routes"),
        ("a: [\n", "r.yaml:1:4: "),
    ] {
        let said = complaints(text, None);
        assert!(said.len() == 1 && said[0].starts_with(wanted), "{text:?}: {said:?}");
    }
}
