//! Rules of a hostile peer: any bytes are rules or an error, and what they match is found in bounded time.
//!
//! The fuzz target calls this; the ordinary tests replay its corpus.

use std::sync::Arc;

use crate::{Dialect, NoMergeFiles, Options, Rules, Scope, Side};

/// Lines of `data`: the last one is a name to judge, those before it are rules that a peer sent.
pub fn fuzz_rules(data: &[u8]) {
    let mut lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let name = lines.pop().unwrap_or_default();
    for dialect in [Dialect::Old, Dialect::Modern, Dialect::Perishable] {
        let mut rules = Rules::new(Options::default());
        for line in &lines {
            // A rule in error ends a real session; here the others are still worth a look.
            let _ = rules.receive(line, dialect, &mut NoMergeFiles);
        }
        let rules = Arc::new(rules);
        for side in [Side::Sender, Side::Receiver] {
            let scope = Scope::new(Arc::clone(&rules), side, b"");
            let hidden = scope.check(name, false).is_excluded();
            let with_parents = scope.excluded_with_parents(name, false, &mut NoMergeFiles);
            // What is excluded by itself is excluded with its parents too.
            assert!(!hidden || with_parents.unwrap_or(true));
        }
    }
}
