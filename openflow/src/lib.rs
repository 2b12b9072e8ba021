//! OpenFlow values, codec and session state machine.
