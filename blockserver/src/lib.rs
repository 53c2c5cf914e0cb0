//! blockserver
