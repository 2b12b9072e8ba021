//! Worker threads: the one place where ports and engines meet.
