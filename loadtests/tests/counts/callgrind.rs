//! Reads callgrind's output: all instructions, where they were executed, and the calls of the allocators.
//!
//! The format: `fl=`, `fi=` and `fe=` name the file that follows, `fn=` the function; lines that begin with a position (a number,
//! perhaps signed, or `*`) end in the instructions executed there. `cfn=` names a called function, `calls=COUNT ...` follows and
//! says how often, and the line after that holds what the callee spent. Names are `(number) name` the first time, then `(number)`;
//! functions share one numbering, files another.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};

use crate::areas;

/// What asks an allocator for memory: jemalloc under the prefix that `tikv-jemallocator` gives it, which Rust uses, and the C
/// library's, which the cryptography uses. A reallocation counts as an allocation.
const ALLOCATING: &[&str] = &["malloc", "calloc", "realloc", "mallocx", "rallocx", "aligned_alloc", "posix_memalign", "memalign"];

/// What a process did in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub instructions: u64,
    pub allocations: u64,
    /// Instructions by [`areas`].
    pub by_area: BTreeMap<&'static str, u64>,
    /// Allocations by the function that asked.
    pub by_caller: BTreeMap<String, u64>,
}

/// Sums up a file.
///
/// # Errors
/// Text that is no profile.
pub fn parse(text: &str) -> Result<Profile> {
    let mut parser = Parser::default();
    text.lines().try_for_each(|line| parser.line(line).with_context(|| format!("callgrind wrote {line:?}")))?;
    let profile = parser.profile;
    ensure!(profile.instructions > 0, "callgrind gave no sum");
    Ok(profile)
}

impl Profile {
    /// Adds another thread's.
    pub fn add(&mut self, other: Profile) {
        self.instructions += other.instructions;
        self.allocations += other.allocations;
        other.by_area.into_iter().for_each(|(area, sum)| *self.by_area.entry(area).or_default() += sum);
        other.by_caller.into_iter().for_each(|(caller, sum)| *self.by_caller.entry(caller).or_default() += sum);
    }
}

#[derive(Default)]
struct Parser<'a> {
    profile: Profile,
    files: HashMap<&'a str, &'a str>,
    functions: HashMap<&'a str, &'a str>,
    file: &'a str,
    function: &'a str,
    callee: &'a str,
    /// The next line belongs to a callee.
    called: bool,
}

impl<'a> Parser<'a> {
    fn line(&mut self, line: &'a str) -> Result<()> {
        if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            return self.cost(line);
        }
        let Some((key, value)) = line.split_once('=') else { return self.sum(line) };
        match key {
            "fl" | "fi" | "fe" => self.file = named(&mut self.files, value),
            "cfi" | "cfl" => drop(named(&mut self.files, value)),
            "fn" => self.function = named(&mut self.functions, value),
            "cfn" => self.callee = named(&mut self.functions, value),
            "calls" => self.calls(value.split(' ').next().unwrap_or_default().parse()?),
            _ => {}
        }
        Ok(())
    }

    fn sum(&mut self, line: &str) -> Result<()> {
        if let Some(sum) = line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")) {
            self.profile.instructions = sum.trim().parse()?;
        }
        Ok(())
    }

    fn cost(&mut self, line: &str) -> Result<()> {
        if !std::mem::take(&mut self.called) {
            let cost: u64 = line.rsplit(' ').next().unwrap_or_default().parse()?;
            *self.profile.by_area.entry(areas::of(self.file, self.function)).or_default() += cost;
        }
        Ok(())
    }

    fn calls(&mut self, count: u64) {
        self.called = true;
        if is_allocating(self.callee) {
            self.profile.allocations += count;
            *self.profile.by_caller.entry(self.function.to_owned()).or_default() += count;
        }
    }
}

fn named<'a>(names: &mut HashMap<&'a str, &'a str>, value: &'a str) -> &'a str {
    match value.split_once(' ') {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(value).copied().unwrap_or_default(),
    }
}

/// Callgrind marks recursion as `malloc'2`.
fn is_allocating(name: &str) -> bool {
    let name = name.split('\'').next().unwrap_or_default();
    ALLOCATING.contains(&name.strip_prefix("_rjem_").unwrap_or(name))
}

#[test]
fn calls_of_both_allocators_are_counted_and_instructions_where_they_were_executed() {
    let text = "events: Ir\nsummary: 94\n\nfl=(1) /h/hyper-1.0/src/a.rs\nfn=(1) hyper::a\n5 10\ncfn=(2) _rjem_malloc\ncalls=3 0 \n* 60\n\
                cfn=(3) free\ncalls=7 0 \n+1 70\ncfn=(4) realloc\ncalls=2 0 \n5 9\nfi=(2) /h/tokio-1.0/src/b.rs\n+3 4\nfe=(1)\n-2 80\n\n\
                fl=(2)\nfn=(2)\ncfn=(5) _rjem_je_arena_malloc\ncalls=9 0\n0 3\n\nfn=(6) other\ncfn=(2)\ncalls=1 0 \n0 3\n";
    let profile = parse(text).expect("a profile");
    assert_eq!((profile.instructions, profile.allocations), (94, 6));
    assert_eq!(profile.by_area, BTreeMap::from([("hyper, httparse", 90), ("tokio", 4)]));
    assert_eq!(profile.by_caller, BTreeMap::from([("hyper::a".to_owned(), 5), ("other".to_owned(), 1)]));
    assert!(parse("fn=(1) main\n5 10\n").is_err());
}
