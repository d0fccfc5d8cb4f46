//! Adapters: what is known of each server that is compared, in a TOML file each, and how it is started.
//!
//! Here is what the rest of the comparison asks: which adapters there are, what is missing for one, what it
//! cannot do, and a server that runs. What a server's configuration says stands in its file, never here;
//! nothing is measured, and no mail is sent.
//!
//! | room | what lives there |
//! |---|---|
//! | `file` | the shape of the TOML |
//! | `template` | text with placeholders |
//! | `plan` | what a file means for a setting: files, commands, environment |
//! | `programs` | where a server's programs are |
//! | `running` | start, greeting, end |
//! | `processes` | all of a server's processes |
//!
//! Placeholders: `{dir}` (the server's own directory), `{address}` `{port}` (where it listens), `{sink_host}`
//! (with `smarthost` alone) `{sink_port}`, `{dns}` `{dns_host}` `{dns_port}` (with `mx` alone), `{programs}`,
//! `{mailrail}`, `{adapters}` (the directory of the TOML files), `{shards}`, `{cert}` `{key}` (with TLS inwards alone), `{retry_s}` (where it is told), `{host}` (a
//! name for it), `{hostname}` (the machine's), the names in `[programs]`, in the variant's values, and of the fragments that the setting chooses.

mod file;
mod plan;
mod processes;
mod programs;
mod running;
mod template;

pub(crate) use file::Durability;
pub(crate) use running::Server;

use file::{File, Variant};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use template::Values;

/// What went wrong with an adapter, in words that name it.
#[derive(Debug)]
pub(crate) struct Error(String);

impl Error {
    fn new(whose: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self(format!("{whose}: {what}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Where programs are that are not installed.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// What `adapters/fetch.sh` filled.
    pub(crate) programs: PathBuf,
    /// The mailrail binary.
    pub(crate) mailrail: PathBuf,
}

/// Where a server sends what it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    /// All to one address.
    Smarthost(SocketAddr),
    /// By the MX records that this server gives, and to this port of theirs.
    Mx { dns: SocketAddr, port: u16 },
}

/// A certificate and its key, both PEM files that every user may read.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What a server is started for.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) tools: Tools,
    /// A directory of its own: made where it is missing, and left behind with logs and queue. On a real
    /// disk, and below directories that every user may enter.
    pub(crate) directory: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) routing: Routing,
    /// Threads, for those that are told how many.
    pub(crate) shards: usize,
    /// STARTTLS is offered with this.
    pub(crate) tls_in: Option<Certificate>,
    /// STARTTLS is used where the next server offers it; its certificate is not checked.
    pub(crate) tls_out: bool,
    /// What was put off is tried again so soon; `None`: as soon as it does by itself.
    pub(crate) retry_s: Option<u32>,
    /// How long it may take until it greets.
    pub(crate) start_limit_s: u64,
}

/// A server that can be compared: an adapter's file, or one variant of it.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    file: Rc<File>,
    variant: Variant,
    /// The directory of the files.
    directory: PathBuf,
}

impl Adapter {
    /// Reads all `*.toml` of a directory, in the order of their names, and checks that all they hold can be rendered.
    ///
    /// # Errors
    /// When the directory or a file cannot be read, or a file says something that is not known.
    pub(crate) fn load_all(directory: &Path) -> Result<Vec<Self>, Error> {
        let entries =
            std::fs::read_dir(directory).map_err(|error| Error::new(directory.display(), error))?;
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "toml")
            })
            .collect();
        paths.sort();
        let directory = std::path::absolute(directory)
            .map_err(|error| Error::new(directory.display(), error))?;
        let mut all: Vec<Self> = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Error::new(path.display(), error))?;
            for adapter in Self::parse(&text, &directory)
                .map_err(|problem| Error::new(path.display(), problem))?
            {
                if all.iter().any(|other| other.name() == adapter.name()) {
                    let problem = format!("another file has a server {}", adapter.name());
                    return Err(Error::new(path.display(), problem));
                }
                all.push(adapter);
            }
        }
        Ok(all)
    }

    /// The servers of one file.
    fn parse(text: &str, directory: &Path) -> Result<Vec<Self>, String> {
        let mut file = file::parse(text)?;
        let mut variants = std::mem::take(&mut file.variant);
        if variants.is_empty() {
            variants.push(Variant {
                name: file.name.clone(),
                label: file.label.clone(),
                durability: file.durability,
                values: file::Fragments::new(),
            });
        }
        let file = Rc::new(file);
        let adapters: Vec<Self> = variants
            .into_iter()
            .map(|variant| Self {
                file: Rc::clone(&file),
                variant,
                directory: directory.to_owned(),
            })
            .collect();
        for adapter in &adapters {
            plan::check(&adapter.file, &adapter.variant)?;
        }
        Ok(adapters)
    }

    /// The name on the command line.
    pub(crate) fn name(&self) -> &str {
        &self.variant.name
    }

    /// The name in a table.
    pub(crate) fn label(&self) -> &str {
        &self.variant.label
    }

    /// What it has done with a message when it answers 250.
    pub(crate) fn durability(&self) -> Durability {
        self.variant.durability
    }

    /// How its durability is known, in a sentence.
    pub(crate) fn durability_seen(&self) -> &str {
        &self.file.durability_seen
    }

    /// Where it has to find the DNS server (`Routing::Mx`), if it cannot be told another port than this.
    pub(crate) fn dns_port(&self) -> Option<u16> {
        self.file.dns_port
    }

    /// What has to be there before it can be started, if something is missing.
    pub(crate) fn missing(&self, tools: &Tools) -> Option<String> {
        if self.file.root && !rustix::process::geteuid().is_root() {
            return Some("is started by root only".to_owned());
        }
        programs::find(&self.file, &mut self.place(tools)).err()
    }

    /// What of this setting it cannot do, and why.
    pub(crate) fn unable(&self, setting: &Setting) -> Option<String> {
        plan::unable(&self.file, setting)
    }

    /// What its own program says of its version.
    ///
    /// # Errors
    /// When something is missing, or the program says nothing.
    pub(crate) fn version(&self, tools: &Tools) -> Result<String, Error> {
        let mut values = self.place(tools);
        let whose = self.name();
        programs::find(&self.file, &mut values).map_err(|problem| Error::new(whose, problem))?;
        plan::version(&self.file, &values).map_err(|problem| Error::new(whose, problem))
    }

    /// Starts it, and waits until it greets with 220.
    ///
    /// # Errors
    /// When something is missing, it cannot do what the setting asks for, or it does not greet in time: then with
    /// the ends of its logs.
    pub(crate) fn start(&self, setting: &Setting) -> Result<Server, Error> {
        let problem = |problem: String| Error::new(self.name(), problem);
        if let Some(unable) = self
            .missing(&setting.tools)
            .or_else(|| self.unable(setting))
        {
            return Err(problem(unable));
        }
        let mut values = self.place(&setting.tools);
        programs::find(&self.file, &mut values).map_err(problem)?;
        let plan = plan::make(&self.file, &self.variant, values, setting).map_err(problem)?;
        Server::start(self.name(), plan, setting).map_err(problem)
    }

    /// The values that no setting changes.
    fn place(&self, tools: &Tools) -> Values {
        let mut values = Values::default();
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        values.set("programs", absolute(&tools.programs).display());
        values.set("mailrail", absolute(&tools.mailrail).display());
        values.set("adapters", self.directory.display());
        values
    }
}
