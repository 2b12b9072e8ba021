//! Exact hash, longest prefix match, general classifier, slabs.
