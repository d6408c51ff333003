//! The transfer engine: roles of the rsync protocol, and the sessions that join them
