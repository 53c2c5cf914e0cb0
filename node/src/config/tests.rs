//! One table per question: what is read, what is refused and how the refusal is worded.

use std::time::Duration;

use env::disk::SimDisk;

use types::Profile;

use super::*;

const PATH: &str = "/etc/node.toml";

fn load(text: &str, variables: &[(&str, &str)]) -> Result<NodeConfig> {
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new("/etc")).unwrap();
    disk.write_atomic(Path::new(PATH), text.as_bytes()).unwrap();
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    NodeConfig::load(&disk, Path::new(PATH), &variables)
}

#[track_caller]
fn check_refused(text: &str, variables: &[(&str, &str)], want: &str) {
    let error = load(text, variables).unwrap_err();
    assert_eq!(error.kind(), types::ErrorKind::Invalid);
    assert!(error.message().contains(want), "{error}\nshould contain: {want}");
}

#[test]
fn an_empty_file_is_a_whole_node() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.data, Path::new("/etc/cloudsync-data"));
    assert_eq!(config.disks, [Path::new("/etc/cloudsync-data/disk1")]);
    assert_eq!((config.native.port(), config.control.port()), (7400, 7401));
    assert_eq!(config.roles, [Role::Meta, Role::Block]);
    assert_eq!(config.cluster, ClusterConfig::default());
}

#[test]
fn every_key_is_read() {
    let config = load(
        r#"
        data = "/srv/a"
        zone = "z-2.b_"
        roles = ["block"]
        native = "10.0.0.5:1"
        control = "[::1]:2"
        admin = "127.0.0.1:3"
        disks = ["/mnt/1", "two"]
        [cluster]
        profile = "6+3"
        pg_count = 64
        tree_partitions = 3
        index_partitions = 256
        passphrase_file = "phrase"
        [meta]
        down_out = 30
        "#,
        &[],
    )
    .unwrap();
    let want = NodeConfig {
        data: PathBuf::from("/srv/a"),
        zone: "z-2.b_".to_owned(),
        roles: vec![Role::Block],
        native: "10.0.0.5:1".parse().unwrap(),
        control: "[::1]:2".parse().unwrap(),
        admin: Some("127.0.0.1:3".parse().unwrap()),
        disks: vec![PathBuf::from("/mnt/1"), PathBuf::from("/etc/two")],
        cluster: ClusterConfig {
            profile: Profile { k: 6, m: 3 },
            pg_count: 64,
            tree_partitions: 3,
            index_partitions: 256,
            passphrase_file: Some(PathBuf::from("/etc/phrase")),
        },
        meta_down_out: Duration::from_secs(30),
        ..NodeConfig::default()
    };
    assert_eq!(config, want);
    assert_eq!(load(&want.to_toml(), &[]), Ok(want));
}

#[test]
fn variables_win() {
    let variables = [
        ("CLOUDSYNC_ZONE", "b"),
        ("CLOUDSYNC_DISKS", "/x, /y,"),
        ("CLOUDSYNC_DATA", "here"),
        ("CLOUDSYNC_ROLES", "block,meta"),
        ("CLOUDSYNC_CLUSTER__PG_COUNT", "8"),
        ("CLOUDSYNC_CLUSTER__PROFILE", "2+1"),
        ("CLOUDSYNC_CREDENTIALS", "no key"),
        ("ZONE", "c"),
    ];
    let config = load("zone = \"a\"\n[cluster]\npg_count = 4", &variables).unwrap();
    assert_eq!(config.zone, "b");
    assert_eq!(config.data, Path::new("here"));
    assert_eq!(config.disks, [Path::new("/x"), Path::new("/y")]);
    assert_eq!(config.roles, [Role::Meta, Role::Block]);
    assert_eq!((config.cluster.pg_count, config.cluster.profile.k), (8, 2));
}

#[test]
fn unknown_keys_name_the_nearest() {
    for (text, want) in [
        ("natvie = \"x\"", "unknown key `natvie`: did you mean `native`?"),
        ("zones = 1", "did you mean `zone`?"),
        ("[cluster]\npg_cuont = 1", "unknown key `cluster.pg_cuont`: did you mean `cluster.pg_count`?"),
        ("[clutser]\nprofile = \"4+2\"", "did you mean `cluster.profile`?"),
        ("profile = \"4+2\"", "did you mean"),
        ("cluster = 1", "unknown key `cluster`"),
    ] {
        check_refused(text, &[], want);
    }
    check_refused(
        "",
        &[("CLOUDSYNC_ZNOE", "a")],
        "variable CLOUDSYNC_ZNOE: unknown key `znoe`: did you mean `zone`?",
    );
}

#[test]
fn bad_values_say_what_is_allowed() {
    for (text, want) in [
        ("data = \"\"", "key `data` cannot be \"\": it must be the path of a directory"),
        ("zone = \"a b\"", "key `zone` cannot be \"a b\": it must be a name"),
        ("zone = 5", "key `zone` cannot be 5"),
        ("roles = []", "at least one"),
        ("roles = [\"disk\"]", "\"meta\" and \"block\""),
        ("roles = \"meta\"", "it must be a list"),
        ("native = \"localhost:1\"", "it must be an address and port"),
        ("control = \"127.0.0.1\"", "it must be an address and port"),
        ("disks = [1]", "a list of paths"),
        ("disks = [\"\"]", "a list of paths"),
        ("[cluster]\nprofile = \"4\"", "key `cluster.profile` cannot be \"4\": it must be k+m"),
        ("[cluster]\npg_count = 3", "a power of two from 1 to 16384"),
        ("[cluster]\npg_count = 32768", "a power of two from 1 to 16384"),
        ("[cluster]\npg_count = -1", "a power of two"),
        ("[cluster]\npg_count = \"8\"", "a power of two"),
        ("[cluster]\ntree_partitions = 0", "a number from 1 to 256"),
        ("[cluster]\nindex_partitions = 257", "a number from 1 to 256"),
        (
            "[meta]\ndown_out = 4",
            "key `meta.down_out` cannot be 4: it must be a number of seconds from 5 to 86400",
        ),
        ("[meta]\ndown_out = \"10m\"", "a number of seconds"),
        ("a = 1\nb = = 2", "line 2"),
    ] {
        check_refused(text, &[], want);
        check_refused(text, &[], PATH);
    }
    check_refused("", &[("CLOUDSYNC_CLUSTER__PG_COUNT", "x")], "variable CLOUDSYNC_CLUSTER__PG_COUNT: key");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, want) in [
        ("roles = [\"meta\"]\ndisks = [\"/a\"]", "has no \"block\""),
        ("disks = [\"/a\", \"/a\"]", "a directory twice"),
        ("native = \"127.0.0.1:1\"\ncontrol = \"127.0.0.1:1\"", "different ports"),
    ] {
        check_refused(text, &[], want);
    }
    let many: Vec<String> = (0..=NODE_DISK_COUNT_MAX).map(|i| format!("\"/{i}\"")).collect();
    check_refused(&format!("disks = [{}]", many.join(", ")), &[], "a node can have at most 128");
    assert_eq!(load("roles = [\"meta\"]", &[]).unwrap().disks, Vec::<PathBuf>::new());
}

#[test]
fn a_missing_file_is_named() {
    let error = NodeConfig::load(&SimDisk::new(0), Path::new("/no.toml"), &[]).unwrap_err();
    assert_eq!(error.kind(), types::ErrorKind::NotFound);
    assert!(error.message().contains("/no.toml"), "{error}");
}

#[test]
fn overriding_variables_are_found() {
    let variables = [("CLOUDSYNC_ZONE", "a"), ("CLOUDSYNC_LOG", "info"), ("HOME", "/")];
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(overriding_variables(&variables), ["CLOUDSYNC_ZONE"]);
}
