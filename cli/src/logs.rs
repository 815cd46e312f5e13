//! `outrigger logs`: what a container has printed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::running::Selector;
use crate::stdio::{self, Reader};

/// How often a followed log is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// Arguments of `outrigger logs`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: Selector,
    /// Pod: NAME, NAMESPACE/NAME, or the unique beginning of a name
    pod: String,
    /// Container [default: the application's]
    #[arg(short, long)]
    container: Option<String>,
    /// Go on printing what is added
    #[arg(short, long)]
    follow: bool,
}

/// Copies the log to standard output.
///
/// # Errors
/// When there is no such run, pod or container, or standard output takes no more.
pub fn run(args: Args) -> Result<()> {
    let state = args.run.state()?;
    let pod = state.pod(&args.pod)?;
    let path = pod.folder.join(format!("{}.log", pod.container(args.container.as_deref())?.name));
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !args.follow => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 if !args.follow => return Ok(()),
            0 => {
                // The pod's folder goes when the pod does.
                if !path.exists() {
                    return Ok(());
                }
                rewind_if_shorter(&mut file)?;
                std::thread::sleep(PAUSE);
            }
            length => {
                let piece = buffer.get(..length).unwrap_or_default();
                if stdio::print_bytes(piece)? == Reader::Gone {
                    return Ok(());
                }
            }
        }
    }
}

fn rewind_if_shorter(file: &mut File) -> Result<()> {
    if file.metadata()?.len() < file.stream_position()? {
        file.seek(SeekFrom::Start(0))?;
    }
    Ok(())
}
