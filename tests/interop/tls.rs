//! OpenFlow over TLS with the certificates of ovs-pki: ovs-ofctl and Open vSwitch against weft, and weft against weft.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use controller_api::client::Client;
use system_tests::{Finished, Ovs, Process, Sandbox, Weft, require_program, run, wait_call, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// What `ovs-pki init` makes: one CA that signs controllers, one that signs switches.
struct Pki(PathBuf);

impl Pki {
    fn new(sandbox: &Sandbox, name: &str) -> Self {
        require_program("ovs-pki", "openvswitch-common");
        let pki = Self(sandbox.dir().join(name));
        std::fs::create_dir_all(&pki.0).expect("the sandbox is writable");
        pki.run(&["init"]);
        pki.run(&["req+sign", "ctl", "controller"]);
        pki.run(&["req+sign", "sw", "switch"]);
        pki
    }

    fn run(&self, args: &[&str]) {
        let (dir, log) = (self.0.join("pki"), self.0.join("log"));
        let options = [format!("--dir={}", dir.display()), format!("--log={}", log.display())];
        run(Command::new("ovs-pki").current_dir(&self.0).args(options).args(args)).success();
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a sandbox's path is text").to_owned()
    }

    /// Key, certificate and the peers' CA of `who` ("ctl", "sw"), as options of ovs-ofctl and weft.
    fn options(&self, who: &str) -> Vec<String> {
        let [key, certificate, ca] = self.files(who);
        ["--private-key", &key, "--certificate", &certificate, "--ca-cert", &ca].map(str::to_owned).to_vec()
    }

    fn files(&self, who: &str) -> [String; 3] {
        let peers = if who == "ctl" { "switchca" } else { "controllerca" };
        [
            self.file(&format!("{who}-privkey.pem")),
            self.file(&format!("{who}-cert.pem")),
            self.file(&format!("pki/{peers}/cacert.pem")),
        ]
    }
}

fn weft(weft: &Weft, log: &str, args: &[&str], options: &[String]) -> Process {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    weft.spawn(log, &[args, &options].concat())
}

fn ofctl(options: &[String], target: &str) -> Finished {
    let mut command = Command::new("ovs-ofctl");
    run(command.args(["-O", "OpenFlow13", "--timeout=10"]).args(options).args(["show", target]))
}

/// The switches of the controller whose socket is in the sandbox.
fn switches(sandbox: &Sandbox) -> Vec<controller_api::Switch> {
    let socket: &Path = &sandbox.run_dir().join("controller.sock");
    wait_call(Client::unix(socket).switches()).unwrap_or_default()
}

#[test]
fn ovs_ofctl_shows_a_weft_switch_by_ssl_and_without_the_right_certificate_does_not() {
    let sandbox = Sandbox::enter("tls-ofctl");
    let (pki, other) = (Pki::new(&sandbox, "pki"), Pki::new(&sandbox, "other"));
    let args = ["switch", "--listen", "pssl:6654", "--listen", "ptcp:6655", "--dpid", "0x2a"];
    let mut switch = weft(&Weft::new(&sandbox), "switch", &args, &pki.options("sw"));
    wait_until(SOON, "the switch to listen", || {
        ofctl(&pki.options("ctl"), "ssl:127.0.0.1:6654").status.success()
    });
    let show = ofctl(&pki.options("ctl"), "ssl:127.0.0.1:6654").success();
    assert!(show.contains("dpid:000000000000002a"), "{show}");
    // Another site's certificates, plain text to the TLS port, and TLS to the plain one.
    ofctl(&other.options("ctl"), "ssl:127.0.0.1:6654").failure();
    switch.wait_for_log(SOON, "does not trust the CA that signed it");
    let [key, certificate, _] = other.files("ctl");
    let ca = pki.file("pki/switchca/cacert.pem");
    let mixed = ["--private-key", &key, "--certificate", &certificate, "--ca-cert", &ca].map(str::to_owned);
    ofctl(&mixed, "ssl:127.0.0.1:6654").failure();
    switch.wait_for_log(SOON, "the peer's certificate was not signed by a CA in");
    ofctl(&[], "tcp:127.0.0.1:6654").failure();
    switch.wait_for_log(SOON, "the peer does not speak TLS");
    ofctl(&pki.options("ctl"), "ssl:127.0.0.1:6655").failure();
    switch.wait_for_log(SOON, "the peer speaks TLS");
    assert!(ofctl(&[], "tcp:127.0.0.1:6655").success().contains("dpid:000000000000002a"));
    // weft's own tool takes the same options.
    let own = |options: Vec<String>| {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Weft::new(&sandbox).run(&[&["ofctl"][..], &options, &["show", "ssl:127.0.0.1:6654"]].concat())
    };
    let show = own(pki.options("ctl")).success();
    assert!(show.contains("dpid:000000000000002a"), "{show}");
    own(other.options("ctl")).failure();
    let told = own(vec![]).failure();
    assert!(told.contains("needs --private-key, --certificate and --ca-cert"), "{told}");
}

#[test]
fn open_vswitch_and_a_weft_switch_connect_to_the_weft_controller_by_ssl() {
    let sandbox = Sandbox::enter("tls-ovs");
    let pki = Pki::new(&sandbox, "pki");
    let binary = Weft::new(&sandbox);
    let _controller =
        weft(&binary, "controller", &["controller", "--openflow", "pssl:6653"], &pki.options("ctl"));
    let ovs = Ovs::start(&sandbox);
    let [key, certificate, ca] = pki.files("sw");
    ovs.vsctl(&["set-ssl", &key, &certificate, &ca]);
    ovs.add_bridge("br1");
    ovs.set_controller("br1", "ssl:127.0.0.1:6653");
    let args = ["switch", "--name", "s2", "--dpid", "2", "--controller", "ssl:localhost:6653"];
    let _switch = weft(&binary, "switch", &args, &pki.options("sw"));
    wait_until(SOON, "both switches to be there", || {
        let mut there: Vec<_> =
            switches(&sandbox).iter().filter(|s| s.connected).map(|s| s.name.clone()).collect();
        there.sort();
        there == ["br1", "s2"]
    });
    wait_until(SOON, "Open vSwitch to say so", || {
        ovs.vsctl(&["get", "controller", "br1", "is_connected"]).trim() == "true"
    });
}
