//! Somebody who knows nothing of mirrors and watches whether anything is deleted that must stay.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::writers::KEPT;

/// Watches directories for removals of what is to be kept, until it is dropped.
pub(super) struct Observer {
    seen: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Watches the directories that `kept` lie in, below each of `roots`.
    pub(super) fn start(roots: &[PathBuf], kept: &[PathBuf]) -> Self {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let events = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF;
        let mut places = HashMap::new();
        for root in roots {
            for dir in kept.iter().filter_map(|path| path.parent()) {
                let dir = root.join(dir);
                let watch = inotify::add_watch(&inotify, &dir, events).unwrap();
                places.insert(watch, dir);
            }
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (told, over) = (Arc::clone(&seen), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 8192];
            let mut reader = Reader::new(&inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let dir = places.get(&event.wd());
                        let name = event.file_name().map(|name| name.to_string_lossy());
                        told.lock().unwrap().extend(deletion(
                            event.events(),
                            dir.map(PathBuf::as_path),
                            name.as_deref(),
                        ));
                    }
                    Err(Errno::AGAIN) if over.load(Ordering::Relaxed) => return,
                    Err(Errno::AGAIN) => thread::sleep(Duration::from_millis(5)),
                    Err(error) => panic!("the observer cannot read: {error}"),
                }
            }
        });
        Self {
            seen,
            is_over,
            thread: Some(thread),
        }
    }

    /// What was removed so far although it must stay.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What an event says has gone, if that is to be kept. A new version renamed over it removes nothing.
fn deletion(events: ReadFlags, dir: Option<&Path>, name: Option<&str>) -> Option<String> {
    let dir = dir?;
    if events.contains(ReadFlags::DELETE_SELF) {
        return Some(dir.display().to_string());
    }
    let is_kept = dir.components().any(|part| part.as_os_str() == KEPT)
        || name.is_some_and(|name| name.starts_with(KEPT));
    // Temporary names go all the time.
    let is_removal = events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM);
    let is_hidden = name.is_some_and(|name| name.starts_with('.'));
    (is_kept && is_removal && !is_hidden)
        .then(|| dir.join(name.unwrap_or_default()).display().to_string())
}
