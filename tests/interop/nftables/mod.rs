//! The same packets into a weft router and into Linux with nftables, each in a namespace of its own, and what of the
//! cases each of them does. weft must do all of them; the matrix of docs/conformance-router.md is what this prints.

mod firewall;
mod lab;
mod nat;
mod packets;
mod routing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use system_tests::{Namespace, Sandbox, require_program, run};

use lab::{Found, Lab, Setup, System, addr};
use packets::End;

/// Hosts of the inside.
const A: &str = "10.1.0.2";
const B: &str = "10.1.0.3";
/// One that is not hidden.
const D: &str = "10.2.0.2";
/// Hosts outside.
const R: &str = "203.0.113.2";
const R2: &str = "203.0.113.3";
const ROUTER_LAN: &str = "10.1.0.1";
const WAN_ADDR: &str = "203.0.113.1";

/// As many as the comparison promises.
const LEAST: usize = 60;

/// One thing that a router does.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    clause: &'static str,
    what: &'static str,
    setup: Setup,
    run: fn(&mut Lab<'_>) -> Found,
}

const fn case(
    name: &'static str,
    clause: &'static str,
    what: &'static str,
    setup: Setup,
    run: fn(&mut Lab<'_>) -> Found,
) -> Case {
    Case { name, clause, what, setup, run }
}

fn end(addr_text: &str, port: u16) -> End {
    (addr(addr_text), port)
}

fn all() -> Vec<Case> {
    [routing::CASES, nat::CASES, firewall::CASES].concat()
}

/// Runs every case against one kind of router.
fn results(system: System) -> Vec<Found> {
    let sandbox = Sandbox::enter(&format!("matrix-{system:?}").to_lowercase());
    let hosts = Namespace::new(&sandbox, "hosts");
    // The kernel of the hosts must not speak beside the cases.
    let quiet = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
    hosts.exec(&["sh", "-c", quiet]).success();
    let each = |case: &Case| {
        // A router that did not start is a failure of this case alone.
        catch_unwind(AssertUnwindSafe(|| {
            let mut lab = Lab::new(system, &case.setup, (&sandbox, &hosts));
            (case.run)(&mut lab)
        }))
        .unwrap_or_else(|_| Err("panicked, see above".to_owned()))
    };
    all().iter().map(each).collect()
}

#[test]
fn the_same_cases_by_weft_and_by_linux_with_nftables() {
    require_program("nft", "nftables");
    let weft = std::thread::spawn(|| results(System::Weft));
    let linux = std::thread::spawn(|| results(System::Linux));
    let (weft, linux) = (weft.join().expect("all cases"), linux.join().expect("all cases"));
    let release = run(Command::new("uname").arg("-r")).success();
    println!("| case | clause | what | weft | Linux {} |\n|---|---|---|---|---|", release.trim());
    let word = |found: &Found| if found.is_ok() { "yes" } else { "no" };
    for (case, (ours, theirs)) in all().iter().zip(weft.iter().zip(&linux)) {
        println!("| {} | {} | {} | {} | {} |", case.name, case.clause, case.what, word(ours), word(theirs));
    }
    let mut failed = Vec::new();
    for (case, (ours, theirs)) in all().iter().zip(weft.iter().zip(&linux)) {
        for (system, found) in [("weft", ours), ("Linux", theirs)] {
            if let Err(why) = found {
                println!("{} of {system}: {why}", case.name);
            }
        }
        failed.extend(ours.as_ref().err().map(|_| case.name));
    }
    let n_linux = linux.iter().filter(|found| found.is_ok()).count();
    println!("{} cases; weft does {}, Linux {n_linux}", weft.len(), weft.len() - failed.len());
    assert!(weft.len() >= LEAST, "{} cases", weft.len());
    assert!(failed.is_empty(), "weft does not do {failed:?}");
    // Were Linux to fail most of them, they would be no cases but peculiarities of weft.
    assert!(n_linux * 4 >= linux.len() * 3, "Linux does {n_linux}");
}
