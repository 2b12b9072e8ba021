use super::*;

/// Recorded messages, and others, as `ovs-ofctl ofp-print` shows them: `# NAME`, the bytes, the text.
const OVS: &str = include_str!("../../../tests/vectors/text/ofp-print.txt");

#[test]
fn messages_are_printed_as_ovs_does() {
    let (mut n_messages, mut different) = (0, String::new());
    for block in OVS.split("\n# ") {
        let mut lines = block.trim_start_matches("# ").lines();
        let (name, hex) = (lines.next().expect("a name"), lines.next().expect("bytes"));
        let text: Vec<&str> = lines.collect();
        let text = text.join("\n");
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).expect("digits"))
            .collect();
        let version = Version::from_number(bytes[0]).expect("a version of ours");
        let (xid, message) = codec::decode(version, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let printed = Printed::new(version, xid, &message).frames().to_string();
        assert!(printed.ends_with('\n'), "{name}");
        if printed.trim_end() != text.trim_end() {
            different.push_str(&format!("{name}: ours, then theirs\n{printed}{text}\n"));
        }
        n_messages += 1;
    }
    assert!(different.is_empty(), "{different}");
    assert!(n_messages > 120, "{n_messages} messages");
}

#[test]
fn frames_that_are_cut_are_no_panic() {
    let frame = "020000000002020000000001810060 0a86dd60012345002006 40fe80000000000000000000000000000a\
                 20010db800000000000000000000000103e8005000000001000000025012006400000000aabb";
    let digits: Vec<char> = frame.chars().filter(char::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits"))
        .collect();
    let texts: Vec<String> = (0..=bytes.len()).map(|len| FrameText(&bytes[..len]).to_string()).collect();
    assert!(texts.iter().all(|text| !text.is_empty()));
    assert_eq!(texts[13], "13 bytes, too short for Ethernet");
    assert!(texts[bytes.len()].contains("dl_vlan=10"), "{:?}", texts.last());
}
