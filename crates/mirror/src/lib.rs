//! The real-time mirror: dirty set, ledger, planner and replicas
