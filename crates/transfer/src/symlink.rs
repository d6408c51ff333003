//! Symbolic links that lead out of a transfer, and the prefix that keeps a daemon's from leading anywhere
//! (behaviour.md 7.16).

/// What a munged link starts with (behaviour.md 7.16).
pub(crate) const MUNGED: &[u8] = b"/rsyncd-munged/";

/// Whether a symbolic link at `path` leads out of the transfer (behaviour.md 7.16).
pub(crate) fn is_unsafe(target: &[u8], path: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return true;
    }
    let mut leading = true;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b".." if !leading => return true,
            b".." | b"" | b"." => {}
            _ => leading = false,
        }
    }
    let depth = path
        .split(|&byte| byte == b'/')
        .filter(|component| !matches!(*component, b"" | b"."))
        .count();
    let mut depth = i64::try_from(depth).unwrap_or(i64::MAX) - 1;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_lead_out() {
        for (target, path, expected) in [
            ("/etc/passwd", "l", true),
            ("", "l", true),
            ("f", "l", false),
            ("../f", "l", true),
            ("../f", "d/l", false),
            ("a/../f", "d/l", true),
            ("../..", "d/l", true),
            ("../../f", "d/e/l", false),
        ] {
            assert_eq!(
                is_unsafe(target.as_bytes(), path.as_bytes()),
                expected,
                "{target} at {path}"
            );
        }
    }
}
