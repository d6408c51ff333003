//! A file that lists what is failing now, and why: for those who look at files. It is written only when it changes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::{Mode, OFlags};

/// The lists of this process: trees that name the same file share one.
static LISTS: Mutex<BTreeMap<PathBuf, Weak<FailureList>>> = Mutex::new(BTreeMap::new());

/// The list in one file.
#[derive(Debug)]
pub(crate) struct FailureList {
    path: PathBuf,
    failing: Mutex<BTreeMap<String, Vec<String>>>,
}

impl FailureList {
    /// The list in this file. One that nobody has begun is empty, and says so.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn create(path: PathBuf) -> io::Result<Arc<Self>> {
        let mut lists = LISTS.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| list.strong_count() > 0);
        if let Some(list) = lists.get(&path).and_then(Weak::upgrade) {
            return Ok(list);
        }
        write(&path, &BTreeMap::new())?;
        let list = Arc::new(Self {
            path: path.clone(),
            failing: Mutex::new(BTreeMap::new()),
        });
        lists.insert(path, Arc::downgrade(&list));
        Ok(list)
    }

    /// Says what fails of a replica now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn set(&self, replica: &str, failures: Vec<String>) -> io::Result<()> {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match failures.is_empty() {
            true => failing.remove(replica),
            false => failing.insert(replica.to_owned(), failures),
        };
        if before.as_ref() == failing.get(replica) {
            return Ok(());
        }
        write(&self.path, &failing)
    }
}

/// Puts the list in its place at once. The directory may be one where others write too: an existing name, or a link, is
/// never written through.
fn write(path: &Path, failing: &BTreeMap<String, Vec<String>>) -> io::Result<()> {
    let mut text = String::new();
    for (replica, failures) in failing {
        for failure in failures {
            text.push_str(&format!("{replica}: {failure}\n"));
        }
    }
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(name);
    let open = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)
    };
    let file = match open() {
        // What a killed mirror of the same number left.
        Err(rustix::io::Errno::EXIST) => {
            rustix::fs::unlink(&temporary)?;
            open()?
        }
        opened => opened?,
    };
    std::fs::File::from(file).write_all(text.as_bytes())?;
    Ok(rustix::fs::rename(&temporary, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_fails_now_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("list"), dir.path().join("victim"));
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let list = FailureList::create(path.clone()).unwrap();
        assert!(!victim.exists());
        list.set("b", vec!["x: no".to_owned()]).unwrap();
        list.set("a", vec!["y".to_owned(), "z".to_owned()]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "a: y\na: z\nb: x: no\n"
        );
        // Another tree with the same file adds to it.
        let same = FailureList::create(path.clone()).unwrap();
        same.set("a", Vec::new()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b: x: no\n");
    }
}
