//! The names that CVS ignores everywhere (behaviour 5.5).

use crate::error::{Error, Title};
use crate::load::{Entry, Loader, NoMergeFiles};
use crate::rule::{Action, Modifiers, Rule, Syntax, Template};
use crate::rules::Options;

const BUILT_IN: &str = "RCS SCCS CVS CVS.adm RCSLOG cvslog.* tags TAGS .make.state .nse_depinfo *~ #* .#* ,* _$* *$ \
    *.old *.bak *.BAK *.orig *.rej .del-* *.a *.olb *.o *.obj *.so *.exe *.Z *.elc *.ln core .svn/ .git/ .hg/ .bzr/";

/// The built-in names, then the user's file, then the environment; a lone `!` in either drops what came before.
pub(crate) fn rules(
    options: &Options,
    action: Action,
    modifiers: Modifiers,
) -> Result<Vec<Rule>, Error> {
    let perishable_if_known = !modifiers.perishable;
    let built_in = Modifiers {
        perishable: true,
        perishable_if_known,
        ..modifiers
    };
    let template = Template {
        words: true,
        defaults: modifiers,
        ..Template::new(Syntax::Cvs)
    };

    let mut no_files = NoMergeFiles;
    let mut loader = Loader::new(options, &mut no_files);
    loader.entries = BUILT_IN
        .split(' ')
        .map(|name| Entry::Match(Rule::new(action, built_in, name.as_bytes())))
        .collect();
    loader.text(
        &options.cvs_file,
        &template,
        &Title::Name(".cvsignore".to_owned()),
    )?;
    loader.text(
        &options.cvs_environment,
        &template,
        &Title::Name("CVSIGNORE".to_owned()),
    )?;
    Ok(loader
        .entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Match(mut rule) => {
                rule.action = action;
                Some(rule)
            }
            Entry::DirMerge(_) | Entry::Cvs(_) => None,
        })
        .collect())
}
