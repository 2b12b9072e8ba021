//! Open vSwitch as a peer.

use system_tests::{Ovs, Sandbox};

#[test]
fn open_vswitch_starts_with_the_userspace_datapath_and_answers() {
    let sandbox = Sandbox::enter("ovs-start");
    let before = sandbox.snapshot();
    let ovs = Ovs::start(&sandbox);
    ovs.add_bridge("br0");
    let features = ovs.ofctl(&["show", "br0"]).success();
    assert!(features.contains("OFPT_FEATURES_REPLY"), "{features}");
    ovs.vsctl(&["del-br", "br0"]);
    drop(ovs);
    sandbox.assert_nothing_left(&before);
}
