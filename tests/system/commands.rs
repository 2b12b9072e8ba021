//! What the command line and the REST API say to mistakes.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use system_tests::{Sandbox, Weft, wait_until};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn mistakes_are_named_and_nothing_is_started() {
    let sandbox = Sandbox::enter("mistakes");
    let weft = Weft::new(&sandbox);
    let zero = weft.run(&["switch", "--dpid", "0"]).failure();
    assert!(zero.contains("0 is no datapath id"), "{zero}");
    let store = weft.run(&["controller", "--store", "/nonexist/intents"]).failure();
    assert!(store.contains("cannot use /nonexist/intents as a store"), "{store}");
    let file = sandbox.dir().join("wrong.yaml");
    let said = |text: &str| {
        std::fs::write(&file, text).expect("the sandbox's folder is writable");
        weft.run(&["validate", file.to_str().expect("a path")]).failure()
    };
    let network =
        said("name: x\nnodes: {s1: {kind: switch}}\nnetworks: [{name: a, vlan: 99999, ports: []}]\n");
    assert!(network.contains("1 to 4094"), "{network}");
    let dpid = said("name: x\nnodes: {s1: {kind: switch, dpid: 5}}\n");
    assert!(dpid.contains("put it in quotes"), "{dpid}");
}

#[test]
fn an_output_that_is_full_fails_the_command_without_a_panic() {
    let sandbox = Sandbox::enter("full");
    let weft = Weft::new(&sandbox);
    let full = File::options().write(true).open("/dev/full").expect("a device of every Linux");
    let mut command = weft.command(&["status"]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("it starts");
    let done = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write to the standard output") && !said.contains("panicked"), "{said}");
}

#[test]
fn errors_that_nobody_reads_are_no_panic() {
    let sandbox = Sandbox::enter("unread");
    let weft = Weft::new(&sandbox);
    let file = sandbox.dir().join("wrong.yaml");
    std::fs::write(&file, "name: x\nnodes: {a: {}, b: {}, c: {}}\n")
        .expect("the sandbox's folder is writable");
    for args in [&["validate", file.to_str().expect("a path")][..], &["ofctl", "show", "nobody"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = weft.command(args).stdout(Stdio::null()).stderr(writer).status().expect("it runs");
        assert_eq!(status.code(), Some(1), "{args:?}");
    }
}

/// The status of an answer; none while nobody listens.
fn status(method: &str, path: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect("127.0.0.1:8080").ok()?;
    let head = format!("{method} /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn rest_refuses_parameters_it_does_not_know_and_names_it_cannot_show() {
    let sandbox = Sandbox::enter("parameters");
    let weft = Weft::new(&sandbox);
    let _controller = weft.spawn("controller", &["controller"]);
    wait_until(SOON, "the API", || status("GET", "health", "") == Some(200));
    let network = |name: &str| format!(r#"{{"name":"{name}","vlan":10,"ports":[]}}"#);
    for (method, path, name, expected) in [
        ("GET", "switches?verbose=1", "", 400),
        ("GET", "networks?match=x", "", 400),
        ("PUT", "networks/%2E%2E", "..", 422),
        ("PUT", "networks/blue?wait=realised", "blue", 201),
        ("GET", "networks", "", 200),
    ] {
        assert_eq!(status(method, path, &network(name)), Some(expected), "{method} {path}");
    }
}

#[test]
fn a_router_named_on_the_command_line_needs_no_name_in_its_file() {
    let sandbox = Sandbox::enter("router-name");
    let weft = Weft::new(&sandbox);
    let file = sandbox.dir().join("r.yaml");
    std::fs::write(&file, "interfaces: []\n").expect("the sandbox's folder is writable");
    let file = file.to_str().expect("a path");
    let mut router = weft.spawn("router", &["router", "--name", "r1", "--config", file]);
    router.wait_for_log(SOON, "router r1 runs");
    let nameless = weft.run(&["router", "--config", file]).failure();
    assert!(nameless.contains("name"), "{nameless}");
}
