//! The engine against the original program, in each role.

mod it {
    mod bench;
    mod local;
    mod pull;
    mod push;
    mod serve;
}
