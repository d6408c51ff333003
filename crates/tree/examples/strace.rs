#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]
use driftless_tree::*;
use std::path::Path;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let policy = Policy {
        hold_dirs: true,
        ..Policy::default()
    };
    let from = Root::open_with(Path::new(&a[1]), policy).unwrap();
    let to = Root::open_with(Path::new(&a[2]), policy).unwrap();
    for entry in from
        .walk(Path::new(""), Mounts::Cross, |_, _| true)
        .unwrap()
    {
        let entry = entry.unwrap();
        if entry.meta.is_dir() {
            if entry.path != Path::new("") {
                to.mkdir(&entry.path, 0o755).unwrap();
            }
            continue;
        }
        let (file, meta) = from.open_regular(&entry.path).unwrap();
        let mut temp = to.temp_file(&entry.path).unwrap();
        copy_contents(&file, temp.file(), meta.size, &|| false, &mut |_| {}).unwrap();
        if a[3] == "seen" {
            temp.commit(&meta, Which::all()).unwrap();
        } else {
            temp.commit_unseen(&meta, Which::all()).unwrap();
        }
    }
}
