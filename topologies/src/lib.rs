//! Topology files: schema, spec to model to operations.
