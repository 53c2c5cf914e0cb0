//! The unlock key of a meta node: in a file, or derived from a passphrase. Format: `docs/formats/keys.md`.
//!
//! Without it nothing that the cluster stores can be read: it is the one thing to keep a copy of.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use env::Env;
use metaserver::Unlocking;
use proto::keys::{Derivation, Unlock, UnlockKey};
use types::limits::{
    PASSPHRASE_MEMORY_KIB, PASSPHRASE_MEMORY_KIB_MAX, PASSPHRASE_PASS_COUNT, PASSPHRASE_PASS_COUNT_MAX,
    PASSPHRASE_SIZE_MIN,
};
use types::{Error, Result};

use crate::config::NodeConfig;
use crate::home::Home;

/// Directory below the data directory.
const DIR: &str = "keys";
/// The key, as 64 hexadecimal digits and an end of line.
const KEY_FILE: &str = "keys/cluster.key";
/// How the key follows from the passphrase.
pub(crate) const DERIVATION: &str = "keys/passphrase";

/// How a new cluster is unlocked: by a passphrase if its configuration names one, otherwise by a new key.
pub fn create(env: &Env, config: &NodeConfig) -> Result<Unlocking> {
    if config.cluster.passphrase_file.is_none() {
        let key = UnlockKey(env.random.bytes());
        return Ok(Unlocking { how: Unlock::File(key.clone()), key });
    }
    let derivation = Derivation {
        salt: env.random.bytes(),
        memory_kib: PASSPHRASE_MEMORY_KIB,
        pass_count: PASSPHRASE_PASS_COUNT,
    };
    Ok(Unlocking {
        key: derive(&passphrase(env, config)?, &derivation)?,
        how: Unlock::Passphrase(derivation),
    })
}

/// Writes down how this node comes by the key.
pub fn save(env: &Env, home: &Home, how: &Unlock) -> Result<()> {
    env.disk.create_dir_durably(&home.join(DIR))?;
    match how {
        Unlock::File(UnlockKey(key)) => {
            let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(env.disk.write_atomic(&home.join(KEY_FILE), format!("{digits}\n").as_bytes())?)
        }
        Unlock::Passphrase(derivation) => home.save(DERIVATION, derivation),
    }
}

/// The key of a node that was prepared. `NotFound` when its file is missing, `Invalid` when it is no key.
pub fn load(env: &Env, home: &Home, config: &NodeConfig) -> Result<Unlocking> {
    if home.has(DERIVATION) {
        let derivation: Derivation = home.load(DERIVATION)?;
        let key = derive(&passphrase(env, config)?, &derivation)?;
        return Ok(Unlocking { key, how: Unlock::Passphrase(derivation) });
    }
    let path = home.join(KEY_FILE);
    if !env.disk.exists(&path) {
        return Err(Error::not_found(format!(
            "{} is missing: put back a copy of it, from another meta node or from where you keep one; without it nothing \
             that the cluster stores can be read",
            path.display()
        )));
    }
    let key = parse(&read(env, &path)?).ok_or_else(|| {
        Error::invalid(format!(
            "{} is not a key of 64 hexadecimal digits: put back a copy of it",
            path.display()
        ))
    })?;
    Ok(Unlocking { how: Unlock::File(key.clone()), key })
}

fn parse(bytes: &[u8]) -> Option<UnlockKey> {
    let digits = std::str::from_utf8(bytes).ok()?.trim_end();
    let is_whole = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok();
    let bytes: Vec<u8> = is_whole.then(|| (0..32).map(byte).collect::<Option<_>>())??;
    Some(UnlockKey(bytes.try_into().ok()?))
}

fn read(env: &Env, path: &Path) -> Result<Vec<u8>> {
    env.disk.read(path).map_err(|e| Error::from(e).context(path.display()))
}

/// The first line of the file that the configuration names.
fn passphrase(env: &Env, config: &NodeConfig) -> Result<Vec<u8>> {
    let path = config.cluster.passphrase_file.as_ref().ok_or_else(|| {
        Error::invalid(
            "this cluster is unlocked by a passphrase: name its file in the configuration, key `cluster.passphrase_file`",
        )
    })?;
    let bytes = read(env, path)?;
    let line = bytes.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default();
    if line.len() < PASSPHRASE_SIZE_MIN {
        return Err(Error::invalid(format!(
            "the first line of {} is no passphrase: it must have {PASSPHRASE_SIZE_MIN} bytes at least",
            path.display()
        )));
    }
    Ok(line.to_vec())
}

fn derive(passphrase: &[u8], derivation: &Derivation) -> Result<UnlockKey> {
    let Derivation { salt, memory_kib, pass_count } = *derivation;
    let invalid = || {
        Error::invalid(format!("{DERIVATION} asks for what no passphrase is derived with: put back a copy"))
    };
    if memory_kib > PASSPHRASE_MEMORY_KIB_MAX || pass_count > PASSPHRASE_PASS_COUNT_MAX {
        return Err(invalid());
    }
    let params = Params::new(memory_kib, pass_count, 1, None).map_err(|_| invalid())?;
    let mut key = [0; 32];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase, &salt, &mut key).map_err(|_| invalid())?;
    Ok(UnlockKey(key))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use types::ErrorKind;

    use super::*;

    struct Bench {
        env: Env,
        home: Home,
        config: NodeConfig,
    }

    impl Bench {
        fn new(passphrase: Option<&str>) -> Self {
            let env = Env::simulated(1);
            let home = Home::lock(&env, Path::new("/data")).unwrap();
            let mut config = NodeConfig::default();
            if let Some(passphrase) = passphrase {
                config.cluster.passphrase_file = Some(PathBuf::from("/data/secret"));
                env.disk.write_atomic(Path::new("/data/secret"), passphrase.as_bytes()).unwrap();
            }
            Self { env, home, config }
        }

        fn load(&self) -> Result<UnlockKey> {
            load(&self.env, &self.home, &self.config).map(|unlocking| unlocking.key)
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            self.env.disk.write_atomic(&self.home.join(name), bytes).unwrap();
        }

        #[track_caller]
        fn check_refused(&self, kind: ErrorKind, words: &str) {
            let error = self.load().unwrap_err();
            assert!(error.kind() == kind && error.message().contains(words), "{error}");
        }
    }

    #[test]
    fn a_key_file_is_read_as_it_was_written() {
        let bench = Bench::new(None);
        bench.check_refused(ErrorKind::NotFound, "keys/cluster.key is missing");
        let made = create(&bench.env, &bench.config).unwrap();
        save(&bench.env, &bench.home, &made.how).unwrap();
        assert_eq!(bench.load(), Ok(made.key.clone()));
        save(&bench.env, &bench.home, &Unlock::File(UnlockKey([0xab; 32]))).unwrap();
        let text = bench.env.disk.read(&bench.home.join(KEY_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", "ab".repeat(32)).into_bytes());
        for bad in [&b""[..], b"ab", &[b'a'; 63], &[b'a'; 66], &[b'x'; 64], &[0xff; 64]] {
            bench.write(KEY_FILE, bad);
            bench.check_refused(ErrorKind::Invalid, "is not a key of 64 hexadecimal digits");
        }
    }

    #[test]
    fn a_passphrase_gives_the_same_key_on_every_node() {
        let bench = Bench::new(Some("correct horse battery\nsecond line"));
        let made = create(&bench.env, &bench.config).unwrap();
        let Unlock::Passphrase(derivation) = made.how else { panic!("it is derived") };
        save(&bench.env, &bench.home, &made.how).unwrap();
        assert!(!bench.home.has(KEY_FILE), "the key is on no disk");
        assert_eq!(bench.load(), Ok(made.key.clone()));
        bench.write("secret", b"correct horse battery\r\n");
        assert_eq!(bench.load(), Ok(made.key.clone()));
        bench.write("secret", b"another passphrase");
        assert_ne!(bench.load(), Ok(made.key));
        bench.write("secret", b"short");
        bench.check_refused(ErrorKind::Invalid, "is no passphrase");
        for bad in [
            Derivation { memory_kib: u32::MAX, ..derivation },
            Derivation { pass_count: u32::MAX, ..derivation },
            Derivation { memory_kib: 0, ..derivation },
        ] {
            bench.write("secret", b"correct horse battery");
            save(&bench.env, &bench.home, &Unlock::Passphrase(bad)).unwrap();
            bench.check_refused(ErrorKind::Invalid, "put back a copy");
        }
        let bench = Bench { config: NodeConfig::default(), ..bench };
        bench.check_refused(ErrorKind::Invalid, "cluster.passphrase_file");
    }

    proptest! {
        /// What is not 64 digits is refused. Other digits are another key, which opens nothing: the cluster's secrets say so.
        #[test]
        fn a_damaged_key_file_is_refused_or_another_key(
            at: Index, rubbish in prop_oneof![vec(any::<u8>(), 0..80), vec(prop::sample::select(b"0189abefABEF\n ".to_vec()), 0..80)]
        ) {
            let bench = Bench::new(None);
            save(&bench.env, &bench.home, &Unlock::File(UnlockKey([0xab; 32]))).unwrap();
            let good = bench.env.disk.read(&bench.home.join(KEY_FILE)).unwrap();
            let (before, after) = good.split_at(at.index(good.len()));
            let over = after.get(rubbish.len()..).unwrap_or_default();
            for bad in [&rubbish[..], &[before, &rubbish].concat(), &[before, &rubbish, over].concat()] {
                bench.write(KEY_FILE, bad);
                match bench.load() {
                    Ok(UnlockKey(key)) => {
                        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                        let text = std::str::from_utf8(bad).unwrap().to_ascii_lowercase();
                        prop_assert_eq!(text.trim_end(), digits);
                    }
                    Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Invalid),
                }
            }
        }
    }

    /// Whoever has the passphrase must come to the same key in every later version.
    #[test]
    fn derived_keys_are_frozen() {
        let derivation = Derivation { salt: [1; 16], memory_kib: 1024, pass_count: 2 };
        let UnlockKey(key) = derive(b"correct horse battery", &derivation).unwrap();
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        expect_test::expect!["cbce18f36a85ff9531d8412e530d73d34dba6f190775ace8fc1606e1b8d4fb6a"]
            .assert_eq(&digits);
    }
}
