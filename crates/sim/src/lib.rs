//! Cores joined by simulated links on virtual time, with seeded faults.
