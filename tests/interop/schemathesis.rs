//! schemathesis asks the controller for everything its OpenAPI document offers, rightly and wrongly, and holds the answers
//! against the document.

use std::process::Command;
use std::time::Duration;

use controller_api::client::Client;
use system_tests::{Process, Sandbox, Weft, environment_command, wait_call, wait_until};

/// Longest wait for anything to become true.
const DEADLINE: Duration = Duration::from_secs(60);
/// Seconds that schemathesis takes at most: what is tried in them is more on a faster machine.
const BUDGET: &str = "60";
const PLACE: &str = "127.0.0.1:8080";

/// A server error is a bug, and so is an answer of another status, kind or shape than the document says.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

fn switch(sandbox: &Sandbox) -> Process {
    let ports = ["--port", "1=hosttap:x1", "--port", "2=hosttap:x2"];
    let switch = ["switch", "--name", "s1", "--dpid", "1", "--controller", "tcp:127.0.0.1:6653"];
    Weft::new(sandbox).spawn("s1", &[&switch[..], &ports].concat())
}

#[test]
fn every_answer_is_as_the_openapi_document_says() {
    let sandbox = Sandbox::enter("schemathesis");
    let mut controller = Weft::new(&sandbox).spawn("controller", &["controller", "--rest", PLACE]);
    let _switch = switch(&sandbox);
    let client = Client::unix(sandbox.run_dir().join("controller.sock"));
    wait_until(DEADLINE, "the switch", || {
        wait_call(client.switches()).is_ok_and(|all| all.iter().any(|switch| switch.realised))
    });
    let mut command = schemathesis();
    let document = format!("http://{PLACE}/api/v1/openapi.json");
    command.args(["run", &document, "--checks", CHECKS, "--max-time", BUDGET, "--seed", "1"]);
    command.args([
        "--max-examples",
        "12",
        "--continue-on-failure",
        "--no-shrink",
        "--suppress-health-check",
        "all",
    ]);
    // A watch has no end, and a switch may be told to say nothing for ten seconds.
    command.args(["--exclude-path", "/api/v1/watch", "--request-timeout", "20"]);
    let mut run = Process::spawn(command.current_dir(sandbox.dir()), &sandbox.dir().join("schemathesis.log"));
    let status = run.wait(Duration::from_secs(180));
    assert!(status.success(), "{}", run.log());
    assert!(run.log().contains("passed"), "{}", run.log());
    let log = run.log();
    println!("{}", log.lines().rev().find(|line| line.contains("passed")).unwrap_or_default());
    assert_eq!(wait_call(client.health()).expect("it lives").pid, controller.pid());
    assert!(!controller.log().contains("panicked"), "{}", controller.log());
    controller.stop();
}

fn schemathesis() -> Command {
    environment_command("schemathesis", "schemathesis")
}
