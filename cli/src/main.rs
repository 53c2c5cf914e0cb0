//! The `cloudsync` binary: one program that is a server, a cluster of them, and what people use them with.
//!
//! Owns: the command line, exit codes, and what is printed.
//! Knows nothing of: how a node is put together (`node`); how anything is stored or agreed upon.

mod admin;
mod args;
mod credentials;
mod dev;
mod exit;
mod files;
mod log;
mod output;
mod progress;
mod serve;
mod session;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use clap::Parser;
use env::Env;
use types::limits::CREDENTIALS_WARN_BEFORE;
use types::{Error, Seq};

use args::{Admin, AdminCert, AdminMeta, AdminNode, Cli, Command, Dev, Reading, Trash};
use exit::Exit;
use output::{Format, Outcome};
use session::Session;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return explain_usage(&e),
    };
    let format = cli.global.format;
    let is_server = matches!(cli.command, Command::Up { .. } | Command::Node { .. });
    log::start(if is_server { "info,openraft=warn" } else { "off" });
    let outcome = env::task::run(Box::pin(run(cli))).and_then(|outcome| {
        outcome.print(format)?;
        Ok(outcome)
    });
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.exit as u8),
        Err(failure) => {
            say(format, &failure.error);
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn run(cli: Cli) -> exit::Result<Outcome> {
    let env = Env::real();
    let global = cli.global;
    let early = OnceLock::new();
    let session = async || {
        let session = Session::open(&env, &global).await?;
        let own = session.credentials.credentials()?;
        if let Some(warning) = admin::warning(&own, env.clock.wall(), CREDENTIALS_WARN_BEFORE) {
            let _ = early.set(warning); // A command has one session.
        }
        Ok::<Session, Error>(session)
    };
    let stale = Arc::new(AtomicBool::new(false));
    let reader = async |reading: Reading| {
        let session = session().await?;
        Ok::<Session, Error>(if reading.stale_ok { session.accept_stale(&stale) } else { session })
    };
    let mut outcome = match cli.command {
        Command::Up { data, disks, listen } => serve::up(env.clone(), &data, disks, listen).await?,
        Command::Node { config } => serve::run(env.clone(), &config).await?,
        Command::Init { config } => serve::init(&env, &config).await?,
        Command::Join { config, token } => serve::join(&env, &config, &token).await?,
        Command::Renew { config, token } => serve::renew(&env, &config, token.as_deref()).await?,
        Command::Dev(Dev::Cluster { dir, command }) => dev::run(&env, &global, &dir, command).await?,
        Command::Put { source, path } => files::put(&session().await?, &source, &path).await?,
        Command::Get { path, dest, reading } => {
            files::get(&reader(reading).await?, &path.path, &dest).await?
        }
        Command::Ls { long, recursive, sort, reverse, path, reading } => {
            let look = files::Look { long, recursive, sort, reverse };
            files::ls(&reader(reading).await?, &path.path, look).await?
        }
        Command::Stat { path, reading } => files::stat(&reader(reading).await?, &path.path).await?,
        Command::Cat { range, path, reading } => {
            files::cat(&reader(reading).await?, &path.path, range).await?
        }
        Command::Mkdir { parents, path } => files::mkdir(&session().await?, &path.path, parents).await?,
        Command::Mv { force, source, target } => {
            files::mv(&session().await?, &source.path, &target, force).await?
        }
        Command::Rm { recursive, path } => files::rm(&session().await?, &path.path, recursive).await?,
        Command::History { path, reading } => files::history(&reader(reading).await?, &path.path).await?,
        Command::Restore { version, path } => files::restore(&session().await?, &path.path, version).await?,
        Command::Cp { version, source, target } => {
            files::cp(&session().await?, &source.path, version, &target).await?
        }
        Command::Ln { text, path } => files::ln(&session().await?, &text, &path.path).await?,
        Command::Trash(Trash::List { path }) => files::trash::list(&session().await?, &path.path).await?,
        Command::Trash(Trash::Restore { id, path }) => {
            files::trash::restore(&session().await?, Seq(id), path.map(|path| path.path)).await?
        }
        Command::Watch { after, once, path } => {
            let watch = files::Watch { path: path.path, after: after.map(Seq), once };
            files::watch(&session().await?, watch, global.format).await?
        }
        Command::Du { path, reading } => files::du(&reader(reading).await?, &path.path).await?,
        Command::Admin(Admin::Meta(AdminMeta::Recover { config, lost, yes })) => {
            admin::recover(&env, &config, &lost, yes)?
        }
        Command::Admin(Admin::Meta(AdminMeta::Skip { config, partition, index, reason, yes })) => {
            admin::skip(&env, &config, partition, index, &reason, yes)?
        }
        Command::Admin(Admin::Node(AdminNode::Readdress { config, addresses })) => {
            admin::readdress(&env, &config, &addresses)?
        }
        Command::Admin(Admin::Cert(AdminCert::Recover { config, name, out })) => {
            admin::recover_credentials(&env, &config, &name, out)?
        }
        Command::Admin(command) => admin::run(&session().await?, command).await?,
    };
    outcome.complaints.extend(early.into_inner());
    if stale.load(Ordering::Relaxed) {
        outcome.mark_stale();
    }
    Ok(outcome)
}

fn say(format: Format, error: &Error) {
    let line = match format {
        Format::Table => exit::as_line(error),
        Format::Json => exit::as_json(error),
    };
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What the parser has to say: help is not an error, the rest is reported like any other.
fn explain_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print(); // As above.
        return ExitCode::from(Exit::Ok as u8);
    }
    let format = wanted_format(std::env::args_os());
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    say(format, &Error::invalid(text));
    ExitCode::from(Exit::Usage as u8)
}

/// The format of a command line that could not be read.
fn wanted_format(args: impl Iterator<Item = OsString>) -> Format {
    let args: Vec<OsString> = args.collect();
    let is_json = |pair: &[OsString]| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json";
    let joined = ["-ojson", "-o=json", "--output=json"];
    let found = args.windows(2).any(is_json) || args.iter().any(|arg| joined.iter().any(|form| arg == form));
    if found { Format::Json } else { Format::Table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_known_even_when_the_rest_is_not() {
        let wanted = |line: &str| wanted_format(line.split_whitespace().map(OsString::from));
        for line in ["c -o json ls x", "c ls --output json", "c ls -ojson", "c --output=json"] {
            assert_eq!(wanted(line), Format::Json, "{line}");
        }
        for line in ["c ls json", "c -o table", "c -o", ""] {
            assert_eq!(wanted(line), Format::Table, "{line}");
        }
    }
}
