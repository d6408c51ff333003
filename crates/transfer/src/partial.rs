//! What an interrupted run has left of a file, in the directory for that (`--partial-dir`, behaviour.md 7.4).

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tree::{Meta, Root};

use crate::flist::{basename, join, parent};
use crate::options::Options;
use crate::scan::rel;

/// Where the partial file of a place is, beside it.
pub(crate) fn partial_place(dir: &Path, place: &[u8]) -> Vec<u8> {
    let dir = join(parent(place), dir.as_os_str().as_bytes());
    join(&dir, basename(place))
}

/// The partial file of a place below `root`.
pub(crate) fn open_partial(options: &Options, root: &Root, place: &[u8]) -> Option<(File, Meta)> {
    let dir = options.partial_dir.as_deref()?;
    let opened = match dir.is_absolute() {
        true => elsewhere(options, dir)?.open_regular(rel(basename(place))),
        false => root.open_regular(rel(&partial_place(dir, place))),
    };
    opened.ok()
}

/// Removes the partial file of a place below `root`, which is of no use any more. True if it was beside the place.
pub(crate) fn remove_partial(options: &Options, root: &Root, place: &[u8]) -> bool {
    let Some(dir) = options.partial_dir.as_deref() else {
        return false;
    };
    if dir.is_absolute() {
        if let Some(dir) = elsewhere(options, dir) {
            let _ = dir.remove_file(rel(basename(place)));
        }
        return false;
    }
    let partial = partial_place(dir, place);
    let was_there = root.remove_file(rel(&partial)).is_ok();
    if was_there {
        // The directory stays if there are others in it.
        let _ = root.remove_dir(rel(parent(&partial)));
    }
    was_there
}

/// The directory that all partial files share.
fn elsewhere(options: &Options, dir: &Path) -> Option<Root> {
    options.open_named_dir(dir).ok()
}
