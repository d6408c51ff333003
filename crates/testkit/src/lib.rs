//! For tests only: the original programs found and started, trees made and compared
