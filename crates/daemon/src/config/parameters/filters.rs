//! Which files of a module exist for clients.

use super::{Field, Parameter, module};

#[rustfmt::skip]
pub(super) const ROWS: &[Parameter] = &[
    module("filter", Field::Text(|m| &mut m.filter), "",
        "rules that hide files",
        "Filter rules as for `--filter`, separated by blanks. What they exclude does not exist for clients: it is not sent, not overwritten and not deleted. Patterns that begin with a slash begin at the module's path.\n\nAll filter parameters together make one list, in this order: `filter`, `include from`, `include`, `exclude from`, `exclude`. They hide names, not what symbolic links lead to."),
    module("exclude", Field::Text(|m| &mut m.exclude), "",
        "patterns of files that are hidden",
        "Patterns as for `--exclude`, separated by blanks; see `filter`. Write `/dir/***` to hide a directory with all in it."),
    module("include", Field::Text(|m| &mut m.include), "",
        "patterns of files that are not hidden after all",
        "Patterns as for `--include`, separated by blanks; see `filter`."),
    module("exclude from", Field::Text(|m| &mut m.exclude_from), "",
        "a file of patterns of files that are hidden",
        "The name of a file with one pattern in each line, as for `--exclude-from`. If it cannot be read, the module is not served."),
    module("include from", Field::Text(|m| &mut m.include_from), "",
        "a file of patterns of files that are not hidden after all",
        "The name of a file with one pattern in each line, as for `--include-from`. If it cannot be read, the module is not served."),
];
