//! The switch: tables, classifier, cache, actions, counters.
