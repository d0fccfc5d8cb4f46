//! The files of a comparison: `results.json`, `results.md` and the plots that it shows. Here they are written, and
//! nothing is decided.

use super::results::{FORMAT, Results};
use super::{markdown, plot, summary, verdict};
use crate::cli::PagesOptions;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes all of them into a directory, which is made; what was there under these names is replaced.
///
/// # Errors
/// The file system's, with the file's name.
pub(crate) fn write(results: &Results, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
    let put = |name: &str, text: &str| {
        let path = directory.join(name);
        // A reader never sees half of a file, even if the comparison is ended here.
        let beside = directory.join(format!(".{name}.new"));
        let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|error| named(&path, &error))
    };
    let mut json = serde_json::to_string_pretty(results)?;
    json.push('\n');
    put("results.json", &json)?;
    let plots = plot::all(results);
    for plot in &plots {
        put(&plot.file, &plot.svg)?;
    }
    let shown = |plot: &plot::Plot| (plot.of.clone(), plot.file.clone());
    let pictures: Vec<(String, String)> = plots.iter().map(shown).collect();
    let page = markdown::page(results, &verdict::lines(results), &pictures);
    put("results.md", &page)
}

/// What is to be said on the terminal at the end.
pub(crate) fn at_the_end(results: &Results) -> String {
    summary::text(results, &verdict::lines(results))
}

/// Draws and judges the results of an earlier comparison anew.
///
/// # Errors
/// When they cannot be read, or the files cannot be written.
pub(crate) fn run(options: &PagesOptions) -> Result<(), Box<dyn Error>> {
    let results = read(&options.results)?;
    let beside = options.results.parent().unwrap_or_else(|| Path::new("."));
    write(&results, options.out.as_deref().unwrap_or(beside))?;
    io::stdout().write_all(at_the_end(&results).as_bytes())?;
    Ok(())
}

fn read(path: &Path) -> io::Result<Results> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    let results: Results = serde_json::from_str(&text).map_err(io::Error::from)?;
    if results.format != FORMAT {
        let text = format!("{}: form {} is not known", path.display(), results.format);
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(results)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::made_up::whole;
    use super::*;

    #[test]
    fn the_page_shows_the_pictures_beside_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let out = directory.path().join("deep/out");
        let results = whole();
        write(&results, &out).expect("written");
        let page = fs::read_to_string(out.join("results.md")).expect("a page");
        let shown: Vec<&str> = page
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap_or(""))
            .collect();
        assert!(shown.len() > 5, "{shown:?}");
        for file in &shown {
            assert!(out.join(file).exists(), "{file}");
        }
        let files = fs::read_dir(&out).expect("read").count();
        assert_eq!(files, shown.len() + 2);
        let again = read(&out.join("results.json")).expect("read");
        assert_eq!(
            (&again.machine, &again.servers),
            (&results.machine, &results.servers)
        );
        assert_eq!(again.scenarios.len(), results.scenarios.len());
        assert!(read(&out.join("results.md")).is_err());
        let other = Results {
            format: FORMAT + 1,
            ..results
        };
        write(&other, &out).expect("written");
        assert!(read(&out.join("results.json")).is_err());
    }
}
