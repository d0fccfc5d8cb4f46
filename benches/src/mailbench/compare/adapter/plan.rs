//! What an adapter's file means for a setting: which files, which commands, which environment. Nothing is
//! written or started here.

use super::file::{File, Fragments, Stop, Switch, Variant};
use super::template::Values;
use super::{Certificate, Routing, Setting, Tools};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A configuration that was rendered.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) directories: Vec<PathBuf>,
    pub(super) files: Vec<Written>,
    /// What hides what, for this server alone.
    pub(super) mounts: Vec<(PathBuf, PathBuf)>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) before: Vec<Vec<String>>,
    pub(super) start: Vec<String>,
    pub(super) stop: Stop,
    pub(super) logs: Vec<PathBuf>,
    /// It changes its user, so that others than we have to get at its files.
    pub(super) changes_user: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) executable: bool,
}

/// Renders a file for a setting; `values` has what `[programs]` was found as.
pub(super) fn make(
    file: &File,
    variant: &Variant,
    mut values: Values,
    setting: &Setting,
) -> Result<Plan, String> {
    let directory = std::path::absolute(&setting.directory).map_err(|error| error.to_string())?;
    set_values(&mut values, &directory, setting);
    take_in(&mut values, &variant.values)?;
    take_in(&mut values, side(&file.tls_in, setting.tls_in.is_some()))?;
    take_in(&mut values, side(&file.tls_out, setting.tls_out))?;
    take_in(&mut values, side(&file.retry, setting.retry_s.is_some()))?;
    // Last, since where mail goes may hold how.
    let routing = match setting.routing {
        Routing::Smarthost(_) => &file.smarthost,
        Routing::Mx { .. } => &file.mx,
    };
    take_in(&mut values, routing)?;

    let below =
        |path: &str| -> Result<PathBuf, String> { Ok(directory.join(values.render(path)?)) };
    let mut plan = Plan {
        directories: vec![directory.clone()],
        files: Vec::new(),
        mounts: Vec::new(),
        environment: Vec::new(),
        before: Vec::new(),
        start: values.render_all(&file.start)?,
        stop: match &file.stop {
            Stop::Command(words) => Stop::Command(values.render_all(words)?),
            Stop::Signal(signal) => Stop::Signal(*signal),
        },
        logs: Vec::new(),
        changes_user: file.root,
    };
    for path in &file.directories {
        plan.directories.push(below(path)?);
    }
    for text in &file.file {
        plan.files.push(Written {
            path: below(&text.path)?,
            text: values.render(&text.text)?,
            executable: text.executable,
        });
    }
    for over in &file.over {
        let source = match (&over.text, &over.directory) {
            (Some(text), _) => {
                let path = directory.join(format!("over{}", over.path.replace('/', "_")));
                plan.files.push(Written {
                    path: path.clone(),
                    text: values.render(text)?,
                    executable: false,
                });
                path
            }
            (None, Some(path)) => {
                let path = below(path)?;
                plan.directories.push(path.clone());
                path
            }
            (None, None) => return Err(format!("over {}: with what?", over.path)),
        };
        plan.mounts.push((source, PathBuf::from(&over.path)));
    }
    for (name, value) in &file.environment {
        plan.environment.push((name.clone(), values.render(value)?));
    }
    for command in &file.before {
        plan.before.push(values.render_all(command)?);
    }
    for log in &file.logs {
        plan.logs.push(below(log)?);
    }
    Ok(plan)
}

/// The names that stand for what is asked for.
fn set_values(values: &mut Values, directory: &Path, setting: &Setting) {
    values.set("dir", directory.display());
    values.set("host", "relay.bench.example");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    values.set("hostname", hostname.trim());
    values.set("address", setting.listen.ip());
    values.set("port", setting.listen.port());
    values.set("shards", setting.shards);
    if let Some(Certificate { cert, key }) = &setting.tls_in {
        values.set("cert", cert.display());
        values.set("key", key.display());
    }
    if let Some(seconds) = setting.retry_s {
        values.set("retry_s", seconds);
    }
    match setting.routing {
        Routing::Smarthost(sink) => {
            values.set("sink_host", sink.ip());
            values.set("sink_port", sink.port());
        }
        Routing::Mx { dns, port } => {
            values.set("sink_port", port);
            values.set("dns", dns);
            values.set("dns_host", dns.ip());
            values.set("dns_port", dns.port());
        }
    }
}

/// Adds fragments: they may hold what was there before them, and not each other.
fn take_in(values: &mut Values, fragments: &Fragments) -> Result<(), String> {
    let before = values.clone();
    for (name, text) in fragments {
        values.set(name, before.render(text)?);
    }
    Ok(())
}

fn side(switch: &Switch, on: bool) -> &Fragments {
    if on { &switch.on } else { &switch.off }
}

/// What the setting asks for and the file says cannot be done.
pub(super) fn unable(file: &File, setting: &Setting) -> Option<String> {
    let unable = &file.unable;
    let routing = match setting.routing {
        Routing::Smarthost(_) => unable.smarthost.clone(),
        Routing::Mx { dns, .. } => unable.mx.clone().or_else(|| {
            let wanted = file.dns_port.filter(|port| *port != dns.port())?;
            Some(format!("asks a DNS server at port {wanted} only"))
        }),
    };
    let tls_in = setting.tls_in.as_ref().and_then(|_| unable.tls_in.clone());
    let tls_out = unable.tls_out.clone().filter(|_| setting.tls_out);
    let retry = (setting.retry_s.is_some() && file.retry.on.is_empty())
        .then(|| "its adapter cannot tell it how soon to try again".to_owned());
    routing.or(tls_in).or(tls_out).or(retry)
}

/// Renders a file for each setting that it is able to do, and so finds placeholders that nobody knows.
pub(super) fn check(file: &File, variant: &Variant) -> Result<(), String> {
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let certificate = || Certificate {
        cert: PathBuf::from("/cert"),
        key: PathBuf::from("/key"),
    };
    let mut values = Values::default();
    for name in ["programs", "mailrail", "adapters"] {
        values.set(name, name);
    }
    for candidate in file.programs.values().flatten() {
        values.render(candidate)?;
    }
    for name in file.programs.keys() {
        values.set(name, name);
    }
    values.render_all(&file.version)?;
    let dns = address(file.dns_port.unwrap_or(5353));
    for routing in [
        Routing::Smarthost(address(2626)),
        Routing::Mx { dns, port: 2626 },
    ] {
        for (tls_in, tls_out, retry_s) in [
            (false, false, None),
            (true, false, None),
            (false, true, None),
            (true, true, None),
            (false, false, Some(1)),
        ] {
            let setting = Setting {
                tools: Tools {
                    programs: PathBuf::new(),
                    mailrail: PathBuf::new(),
                },
                directory: PathBuf::from("/dir"),
                listen: address(2525),
                routing,
                shards: 2,
                tls_in: tls_in.then(certificate),
                tls_out,
                retry_s,
                start_limit_s: 1,
            };
            if unable(file, &setting).is_none() {
                make(file, variant, values.clone(), &setting)?;
            }
        }
    }
    Ok(())
}

/// What the version command says: its first line that has a digit.
pub(super) fn version(file: &File, values: &Values) -> Result<String, String> {
    let words = values.render_all(&file.version)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    for (name, value) in &file.environment {
        // What depends on a setting is not known here, and no version depends on it.
        if let Ok(value) = values.render(value) {
            command.env(name, value);
        }
    }
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", words[0]))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said
        .lines()
        .find(|line| line.bytes().any(|byte| byte.is_ascii_digit()));
    line.map(|line| line.trim().to_owned())
        .ok_or_else(|| format!("{} says no version: {said}", words.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;

    const TEXT: &str = r#"
name = "a"
label = "A"
durability = "write"
durability_seen = "said so"
dns_port = 53
version = ["sh", "-c", "echo nothing; echo version 1.2.3 >&2"]
directories = ["queue"]
start = ["server", "{dir}/a.conf"]
stop = ["server", "-k", "{dir}"]
[environment]
HOME = "{dir}"
[[file]]
path = "a.conf"
text = "{address}:{port} {shards} {colour} {tls_in} {route}"
[[over]]
path = "/etc/hosts"
text = "{host}"
[smarthost]
route = "to {sink_host}:{sink_port} {tls_out}"
[mx]
route = "by {dns} to {sink_port}"
[tls_in.on]
tls_in = "{cert} {key}"
[tls_in.off]
tls_in = "none"
[tls_out.on]
tls_out = "may"
[tls_out.off]
tls_out = "no"
[unable]
tls_out = "it never could"
"#;

    fn setting(routing: Routing, tls_in: bool, tls_out: bool) -> Setting {
        Setting {
            tools: Tools {
                programs: PathBuf::new(),
                mailrail: PathBuf::new(),
            },
            directory: PathBuf::from("/d"),
            listen: "127.0.0.1:2525".parse().expect("an address"),
            routing,
            shards: 3,
            tls_in: tls_in.then(|| Certificate {
                cert: PathBuf::from("/c"),
                key: PathBuf::from("/k"),
            }),
            tls_out,
            retry_s: None,
            start_limit_s: 1,
        }
    }

    fn smarthost() -> Routing {
        Routing::Smarthost("127.0.0.2:2626".parse().expect("an address"))
    }

    fn mx(port: u16) -> Routing {
        Routing::Mx {
            dns: ([127, 0, 0, 3], port).into(),
            port: 2627,
        }
    }

    fn variant(text: &str) -> Variant {
        Variant {
            name: "a".to_owned(),
            label: "A".to_owned(),
            durability: super::super::file::Durability::Write,
            values: Fragments::from([("colour".to_owned(), text.to_owned())]),
        }
    }

    #[test]
    fn what_a_setting_makes_of_a_file() {
        let file = parse(TEXT).expect("it is read");
        for (setting, expected) in [
            (
                setting(smarthost(), false, false),
                "127.0.0.1:2525 3 red none to 127.0.0.2:2626 no",
            ),
            (
                setting(smarthost(), true, true),
                "127.0.0.1:2525 3 red /c /k to 127.0.0.2:2626 may",
            ),
            (
                setting(mx(53), false, false),
                "127.0.0.1:2525 3 red none by 127.0.0.3:53 to 2627",
            ),
        ] {
            let plan = make(&file, &variant("red"), Values::default(), &setting).expect("a plan");
            assert_eq!(plan.files[0].text, expected);
            assert_eq!(plan.files[0].path, Path::new("/d/a.conf"));
            assert_eq!(plan.directories, ["/d", "/d/queue"].map(PathBuf::from));
            assert_eq!(plan.start, ["server", "/d/a.conf"]);
            let stop = ["server", "-k", "/d"].map(str::to_owned).to_vec();
            assert_eq!(plan.stop, Stop::Command(stop));
            let over = PathBuf::from("/d/over_etc_hosts");
            assert_eq!(plan.mounts, [(over, PathBuf::from("/etc/hosts"))]);
            assert_eq!(plan.environment, [("HOME".to_owned(), "/d".to_owned())]);
        }
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let file = parse(TEXT).expect("it is read");
        for (setting, expected) in [
            (setting(smarthost(), true, false), None),
            (setting(mx(53), true, false), None),
            (
                setting(mx(5353), false, false),
                Some("asks a DNS server at port 53 only"),
            ),
            (setting(smarthost(), false, true), Some("it never could")),
        ] {
            assert_eq!(unable(&file, &setting).as_deref(), expected, "{setting:?}");
        }
    }

    #[test]
    fn how_soon_to_try_again_is_told_to_those_who_listen() {
        let hasty = Setting {
            retry_s: Some(7),
            ..setting(smarthost(), false, false)
        };
        let deaf = parse(TEXT).expect("it is read");
        let why = "its adapter cannot tell it how soon to try again";
        assert_eq!(unable(&deaf, &hasty).as_deref(), Some(why));
        let text = TEXT.replace("{colour}", "{retry}");
        let switch = "[retry.on]\nretry = 'after {retry_s} s'\n[retry.off]\nretry = 'whenever'\n";
        let file = parse(&format!("{text}{switch}")).expect("it is read");
        assert_eq!(unable(&file, &hasty), None);
        for (setting, expected) in [
            (hasty, "after 7 s"),
            (setting(smarthost(), false, false), "whenever"),
        ] {
            let plan = make(&file, &variant(""), Values::default(), &setting).expect("a plan");
            let text = &plan.files[0].text;
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn an_unknown_placeholder_is_found_before_anything_starts() {
        for (from, to, expected) in [
            ("", "", None),
            ("{shards}", "{shard}", Some("unknown placeholder {shard}")),
            ("{colour}", "{color}", Some("unknown placeholder {color}")),
            (
                "by {dns}",
                "by {sink_host}",
                Some("unknown placeholder {sink_host}"),
            ),
            (
                "tls_in = \"none\"",
                "",
                Some("unknown placeholder {tls_in}"),
            ),
            ("[\"sh\", ", "[\"{sh}\", ", Some("unknown placeholder {sh}")),
        ] {
            let file = parse(&TEXT.replacen(from, to, 1)).expect("it is read");
            let found = check(&file, &variant("red")).err();
            assert_eq!(found.as_deref(), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn the_version_is_the_first_line_with_a_digit() {
        let file = parse(TEXT).expect("it is read");
        let found = version(&file, &Values::default());
        assert_eq!(found.as_deref(), Ok("version 1.2.3"));
    }
}
