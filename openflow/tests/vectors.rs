//! Messages recorded between Open vSwitch's tools: decoded, encoded again, and cut at every byte.

use std::path::Path;

use openflow::{Version, codec};

/// Name, version and bytes of every vector.
fn vectors() -> Vec<(String, Version, Vec<u8>)> {
    let folders = [("v10", Version::V10), ("v13", Version::V13), ("v14", Version::V14)];
    let of =
        |(folder, version)| vectors_in(folder).into_iter().map(move |(name, bytes)| (name, version, bytes));
    folders.into_iter().flat_map(of).collect()
}

fn vectors_in(folder: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(folder);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("a directory entry").path();
        let text = std::fs::read_to_string(&path).expect("a vector");
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes = digits.chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("two digits")
        });
        (path.file_name().expect("a file").to_string_lossy().into_owned(), bytes.collect())
    };
    let vectors: Vec<_> = std::fs::read_dir(dir).expect("the vectors").map(read).collect();
    assert!(vectors.len() > 60, "{} vectors", vectors.len());
    vectors
}

#[test]
fn recorded_messages_survive_decoding_and_encoding() {
    for (name, version, bytes) in vectors() {
        let (xid, message) = match codec::decode(version, &bytes) {
            Ok(decoded) => decoded,
            // Fields of the Nicira extensions, which are refused as the standard wants.
            Err(error) => {
                assert!(name.starts_with("flow_mod"), "{version:?} {name}: {error}");
                let text = error.to_string();
                assert!(
                    ["OFPBMC_BAD_FIELD", "OFPBMC_BAD_MASK"].contains(&text.as_str()),
                    "{version:?} {name}: {text}"
                );
                continue;
            }
        };
        let mut again = Vec::new();
        codec::encode(version, xid, &message, &mut again).expect("what was decoded can be encoded");
        let decoded = codec::decode(version, &again).unwrap_or_else(|e| panic!("{version:?} {name}: {e}"));
        assert_eq!(decoded, (xid, message), "{version:?} {name}");
        // Where nothing is left out or normalised, the bytes are the same.
        // (Open vSwitch says "unknown" of a queue's duration by all ones.)
        let changes = [
            "multipart_reply_table_features",
            "multipart_reply_flow",
            "multipart_reply_queue",
            // Properties of Open vSwitch's own.
            "multipart_reply_port_stats",
            "hello",
            "flow_mod",
            // 1.0: names of tables are ours.
            "stats_reply_table",
        ];
        if version == Version::V10 && name.starts_with("flow_mod")
            || !changes.iter().any(|change| name.starts_with(change))
        {
            let differs = again.iter().zip(&bytes).position(|(a, b)| a != b);
            assert_eq!((again.len(), differs), (bytes.len(), None), "{version:?} {name}");
        }
    }
}

#[test]
fn cut_at_every_byte_nothing_panics() {
    for (name, version, bytes) in vectors() {
        // Long replies repeat themselves.
        for cut in 0..bytes.len().min(3000) {
            // With the true length, and with a length that agrees with the cut.
            assert!(codec::decode(version, &bytes[..cut]).is_err(), "{name} cut at {cut}");
            let mut lying = bytes[..cut].to_vec();
            if let Some(len) = lying.get_mut(2..4) {
                len.copy_from_slice(&(cut as u16).to_be_bytes());
                let _ = codec::decode(version, &lying);
            }
        }
    }
}

#[test]
fn any_byte_changed_nothing_panics() {
    // Long replies repeat themselves: the others have one of each structure.
    for (_, version, bytes) in vectors().into_iter().filter(|(_, _, bytes)| bytes.len() < 2000) {
        for idx in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, bytes[idx].wrapping_add(8), bytes[idx].wrapping_sub(8)] {
                let mut changed = bytes.clone();
                changed[idx] = value;
                if let Ok((xid, message)) = codec::decode(version, &changed) {
                    let mut again = Vec::new();
                    let _ = codec::encode(version, xid, &message, &mut again);
                }
            }
        }
    }
}
