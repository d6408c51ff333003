//! Where hints come from: inotify, fanotify and polling behind one stream of changes
