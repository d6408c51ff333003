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

/// The target that a daemon without chroot stores for a link at `path`: one that cannot lead out of the transfer.
pub(crate) fn confined(target: &[u8], path: &[u8]) -> Vec<u8> {
    let depth = path.iter().filter(|&&byte| byte == b'/').count();
    let mut ups = 0;
    let mut names: Vec<&[u8]> = Vec::new();
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if names.pop().is_some() => {}
            b".." => ups = depth.min(ups + 1),
            name => names.push(name),
        }
    }
    let mut whole: Vec<&[u8]> = std::iter::repeat_n(&b".."[..], ups).chain(names).collect();
    if whole.is_empty() {
        return b".".to_vec();
    }
    if target.ends_with(b"/") {
        whole.push(b"");
    }
    whole.join(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rsync 3.5.0 stores them.
    #[test]
    fn targets_that_are_confined() {
        for (target, path, expected) in [
            ("/etc/hostname", "abs", "etc/hostname"),
            ("../../outside", "dir/out", "../outside"),
            ("../a", "dir/ok", "../a"),
            ("./dir/../a", "dotted", "a"),
            ("../a", "up", "a"),
            ("../../x", "up2", "x"),
            ("..", "up3", "."),
            ("a//./", "slash", "a/"),
            ("../../", "dir/slash", "../"),
            ("./", "dot", "."),
        ] {
            let found = confined(target.as_bytes(), path.as_bytes());
            assert_eq!(
                String::from_utf8_lossy(&found),
                expected,
                "{target} at {path}"
            );
        }
    }

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
