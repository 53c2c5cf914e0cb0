//! What the program says to people, beside its result.

use std::io::Write;

/// A line of progress.
pub fn say(text: impl std::fmt::Display) {
    eprintln!("sim: {text}");
}

/// A line of the result. A reader that went away needs none.
pub fn print(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
