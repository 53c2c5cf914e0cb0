//! Goal: the program that people use to run seeds works, and a few seeds break no promise, whatever goes wrong.
//! Method: fixed seeds in processes of their own, some of them twice.

use std::path::Path;

use env::testing::temp_dir;

/// What the program says, all of it.
fn sim(arguments: &str) -> String {
    let directory = temp_dir();
    let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_sim"));
    env::task::run(env::process::run_detached(program, &words, &directory.join("said")))
        .expect("the program starts")
}

#[test]
fn fixed_seeds_break_no_promise_and_replay() {
    let said = sim("batch --seeds 12 --seconds 20 --twice 3");
    assert!(said.ends_with("15 passed, 0 failed"), "{said}");
}

#[test]
fn a_run_tells_its_plan_and_draws_what_it_saw() {
    let directory = temp_dir();
    let (trace, picture) = (directory.join("trace"), directory.join("picture"));
    let files = format!("--trace {} --picture {}", trace.display(), picture.display());
    let said = sim(&format!("run --seed 4 --seconds 5 --faults crash {files}"));
    assert!(said.contains("Crash") && said.ends_with("good"), "{said}");
    let read = |path: &Path| String::from_utf8(env::Env::real().disk.read(path).unwrap()).unwrap();
    assert!(read(&trace).lines().count() > 1_000);
    assert!(read(&picture).starts_with("<svg"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let said = sim("run --seed 1 --faults earthquake");
    assert!(said.contains("there is no kind of fault \"earthquake\": choose of crash, pause"), "{said}");
    let said = sim("shrink --seed 4 --seconds 2 --faults none");
    assert!(said.contains("seed 4 does not fail"), "{said}");
}
