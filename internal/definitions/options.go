package definitions

import (
	"path/filepath"

	"github.com/abide-project/abide/internal/format"
)

// The scopes of an instance.
const (
	System  = "system"
	User    = "user"
	Project = "project"
)

// Options say where definitions stand and how they are to be judged.
type Options struct {
	Scope string // System if empty
	// Root is the absolute folder that relative paths resolve against; empty
	// means / for the system and Home for a user. A project's must be given.
	Root string
	// Config are files and folders that take the place of the scope's own; a
	// later one replaces services of an earlier one.
	Config []string
	// Home and ConfigHome are the user's home and XDG_CONFIG_HOME, which may be
	// empty.
	Home       string
	ConfigHome string
	// CheckOwner refuses what an account other than root, or for a plain user
	// root and the user, could have written.
	CheckOwner bool
	// Console and Inherit change defaults, as format.Settings says.
	Console bool
	Inherit bool
	// DotEnv adds the file .env of a project's root to the environment of its
	// services.
	DotEnv bool

	// Scale is how many copies of a template ("web@") an operator asked for, if one
	// did: it wins over what the file says. A template whose instances have names
	// is not asked about. nil: nobody did.
	Scale func(template string) (copies int, said bool)
	// Build names the program that reads. What another one made of the same files is
	// made anew.
	Build string

	// VendorDir and EtcDir stand for /usr/lib/abide and /etc/abide if not empty.
	VendorDir string
	EtcDir    string

	lint bool // drop-ins may stand by themselves
}

func (o *Options) settings() format.Settings {
	root := o.Root
	if root == "" && o.Scope == User {
		root = o.Home
	}
	return format.Settings{Root: root, Console: o.Console, Inherit: o.Inherit}
}

// sourceKind is how a source is read.
type sourceKind uint8

const (
	folder      sourceKind = iota // NAME.toml files and their drop-ins
	configDir                     // a folder, and in it abide.toml and services/
	projectFile                   // an abide.toml
	anyFile                       // one file of any format
)

// source is a place where definitions stand. A wanted one must exist.
type source struct {
	kind   sourceKind
	path   string
	wanted bool
}

// layer is a set of sources of equal rank: a name stands in it only once.
type layer []source

// layers lists the places of the scope, lowest rank first.
func (o *Options) layers() []layer {
	if len(o.Config) > 0 {
		var out []layer
		for _, path := range o.Config {
			kind := anyFile
			if filepath.Base(path) == "abide.toml" {
				kind = projectFile
			}
			if isFolder(path) {
				kind = configDir
			}
			out = append(out, layer{{kind, path, true}})
		}
		return out
	}
	switch o.Scope {
	case User:
		base := filepath.Join(o.ConfigHome, "abide")
		if o.ConfigHome == "" {
			base = filepath.Join(o.Home, ".config", "abide")
		}
		return []layer{scopeLayer(base)}
	case Project:
		return []layer{projectLayer(o.Root)}
	default:
		vendor, etc := o.VendorDir, o.EtcDir
		if vendor == "" {
			vendor = "/usr/lib/abide"
		}
		if etc == "" {
			etc = "/etc/abide"
		}
		return []layer{{{folder, filepath.Join(vendor, "services"), false}}, scopeLayer(etc)}
	}
}

func scopeLayer(base string) layer {
	return layer{{projectFile, filepath.Join(base, "abide.toml"), false}, {folder, filepath.Join(base, "services"), false}}
}

// projectLayer is the first of abide.toml, abide/ and Procfile that is there.
func projectLayer(root string) layer {
	if path := filepath.Join(root, "abide.toml"); exists(path) {
		return layer{{projectFile, path, true}}
	}
	if path := filepath.Join(root, "abide"); isFolder(path) {
		return layer{{configDir, path, true}}
	}
	if path := filepath.Join(root, "Procfile"); exists(path) {
		return layer{{anyFile, path, true}}
	}
	return layer{{projectFile, filepath.Join(root, "abide.toml"), true}}
}
