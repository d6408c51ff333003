//! rsync's filter rules: grammar, wildcard matching, merge files, both sides' views
