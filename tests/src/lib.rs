//! Black box tests: the real binary, real namespaces, real third-party peers.
