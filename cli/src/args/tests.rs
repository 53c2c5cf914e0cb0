//! What the command line accepts, and how it words a refusal.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::values::duration;
use std::ffi::{OsStr, OsString};

use super::values::parse_remote;
use super::*;

fn parse(line: &str) -> std::result::Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("cloudsync").chain(line.split_whitespace()))
}

#[track_caller]
fn check_refused(line: &str, want: &str) {
    let error = parse(line).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.render().to_string();
    assert!(text.contains(want), "{line}: {text}\nshould contain: {want}");
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_is_there() {
    for line in [
        "up",
        "up --data d --disks 9 --listen 127.0.0.1:1",
        "node --config n.toml",
        "init --config n.toml",
        "join --config n.toml --token t",
        "dev cluster up --nodes 8 --zones 3 --dir d --profile 4+2",
        "dev cluster status",
        "dev cluster env --dir d",
        "dev cluster --dir d leader",
        "dev cluster kill 1 2",
        "dev cluster restart 3",
        "dev cluster down",
        "put f /p",
        "get /p f",
        "ls",
        "ls -l -R /p",
        "ls -lR /p -o json",
        "stat /p",
        "cat /p",
        "cat --range 0-9 /p",
        "mkdir -p /p",
        "mv /p /q",
        "rm -r /p",
        "history /p",
        "restore /p",
        "restore /p --version 7",
        "du",
        "du /p",
        "admin cluster status",
        "admin node list",
        "admin meta compare",
        "admin meta compare 3 -o json",
        "admin disk list -o json",
        "renew --config n.toml",
        "renew --config n.toml --token t",
        "admin token create --valid 2h",
        "admin token create --role meta --uses 5",
        "admin token create --role storage",
        "admin token create --renew 5",
        "admin token list",
        "admin token revoke 0102030405060708",
        "admin cert list",
        "admin cert issue bob --days 30 --out f",
        "admin cert issue user/ann",
        "admin cert revoke 17",
        "admin cert revoke node/3 --force",
        "admin cert recover --config n.toml",
        "admin namespace create team",
        "admin key list -o json",
        "admin key rotate",
        "admin key destroy 1 --yes",
        "-o json --namespace team --credentials c --timeout 5 ls",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn bad_lines_are_usage_errors() {
    for (line, want) in [
        ("", "Usage"),
        ("frobnicate", "unrecognized subcommand"),
        ("put f", "required"),
        ("put f p", "must start with '/'"),
        ("get a/b f", "must start with '/'"),
        ("ls /a/../b", "relative reference"),
        ("stat /./a", "relative reference"),
        ("cat --range 5-4 /p", "a range is first-last"),
        ("cat --range x /p", "a range is first-last"),
        ("ls -o xml", "possible values: table, json"),
        ("ls --namespace A", "namespace name"),
        ("ls --timeout 0", "0 is not in 1..=3600"),
        ("restore /p --version x", "a version is a number"),
        ("up --disks 1", "1 is not in 2..=128"),
        ("up --listen here", "invalid socket address"),
        ("dev cluster kill", "required"),
        ("dev cluster up --profile 4", "profile \"4\" is not k+m"),
        ("admin token create --valid 1y", "a duration is"),
        ("admin token create --valid 366d", "a duration is"),
        ("admin namespace create /x", "namespace name"),
        ("admin token create --renew 5 --role meta", "cannot be used with"),
        ("admin token revoke x", "16 hexadecimal digits"),
        ("admin cert issue a/b", "node|admin|user"),
        ("admin cert revoke node/x", "node|admin|user"),
    ] {
        check_refused(line, want);
    }
    let long = format!("stat /{}", "x".repeat(256));
    check_refused(&long, "longer than 255 bytes");
}

#[test]
fn paths_that_are_not_text_are_usage_errors() {
    use std::os::unix::ffi::OsStringExt;
    for bad in [b"/a\xff".to_vec(), b"/a\0b".to_vec(), Vec::new()] {
        let line = [OsString::from("cloudsync"), OsString::from("stat"), OsString::from_vec(bad)];
        assert_eq!(Cli::try_parse_from(line).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn asking_for_help_is_no_error() {
    for (line, kind) in [("--help", ErrorKind::DisplayHelp), ("--version", ErrorKind::DisplayVersion)] {
        let error = parse(line).unwrap_err();
        assert_eq!((error.kind(), error.exit_code()), (kind, 0));
    }
}

#[test]
fn a_slash_at_the_end_means_a_directory() {
    let remote = |text: &str| parse_remote(OsStr::new(text)).unwrap();
    assert!(remote("/a/").is_dir && remote("/").is_dir && !remote("/a").is_dir);
    assert_eq!(remote("/a/").path, remote("/a").path);
}

#[test]
fn ranges_and_durations() {
    assert_eq!(byte_range("0-0"), Ok(ByteRange { first: 0, last: Some(0) }));
    assert_eq!(byte_range("5-"), Ok(ByteRange { first: 5, last: None }));
    for bad in ["", "-", "-5", "5", "1-2-3", "a-b"] {
        assert!(byte_range(bad).is_err(), "{bad}");
    }
    let seconds = |text| duration(text).map(|d| d.as_secs());
    assert_eq!(seconds("90s"), Ok(90));
    assert_eq!(seconds("2d"), Ok(2 * 24 * 3600));
    for bad in ["", "h", "0h", "1", "1.5h", "-1h", "1ü", "99999999999999999999d"] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}
