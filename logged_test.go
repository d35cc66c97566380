// SPDX-License-Identifier: EUPL-1.2

package seinhuis_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seinhuis/seinhuis/logging"
)

// spread are the events whose fields are put together elsewhere. The handler holds
// them to their rows all the same.
var spread = []string{"listening", "reloaded", "minute"}

// TestWhatIsLogged holds every call of a logger in our source against the table of
// events: a constant message that has a row, keys of that row, an error exactly
// where a cause is told. And it holds what the table leans on: that nobody makes a
// logger of his own, and that the texts of our errors are constants.
func TestWhatIsLogged(t *testing.T) {
	dependOnAll(t)
	used := map[string]bool{}
	calls := 0
	eachCall(t, func(c call) {
		calls++
		checkLogged(c, used)
	})
	if calls < 1000 {
		t.Fatalf("saw %d calls in the whole source", calls)
	}
	for message := range logging.Events {
		if !used[message] {
			t.Errorf("nothing logs %q", message)
		}
	}
}

// TestWhatIsLoggedSeesFaults gives the rules a source that breaks each.
func TestWhatIsLoggedSeesFaults(t *testing.T) {
	dependOnAll(t)
	const head = "package p\nimport (\"log/slog\"; \"log\"; \"errors\"; \"fmt\"; \"os\"; \"context\"; \"github.com/seinhuis/seinhuis/logging\")\n" +
		"var _ = log.New; var _ = errors.Is; var _ = fmt.Sprint; var _ = os.Exit; var _ = context.Background; var _ logging.Error\n" +
		"func f(l *slog.Logger, err error, name string, all []any) { "
	imports := exports(t)
	for body, sound := range map[string]bool{
		`l.Info("stopped")`: true,
		`l.Warn("feed not read", "code", "x", "cause", err)`:                               true,
		`l.WarnContext(context.Background(), "feed not read", slog.String("code", "x"))`:   true,
		`l.Log(context.Background(), slog.LevelInfo, "request refused", "code", "x")`:      true,
		`l.Info("reloaded", all...)`:                                                       true,
		`l.Info("never heard of")`:                                                         false,
		`l.Info("stopped", "name", name)`:                                                  false,
		`l.Info(name)`:                                                                     false,
		`l.Warn("feed not read", "code", "x", "cause", err.Error())`:                       false,
		`l.Warn("feed not read", "code", err)`:                                             false,
		`l.Warn("feed not read", name, "x")`:                                               false,
		`l.Warn("feed not read", slog.String("name", "x"))`:                                false,
		`l.Warn("feed not read", all...)`:                                                  false,
		`l.LogAttrs(context.Background(), slog.LevelInfo, "never heard of")`:               false,
		`l.LogAttrs(context.Background(), slog.LevelInfo, "stopped", slog.Int("name", 1))`: false,
		`l.With("code", "x").Info("stopped")`:                                              false,
		`l.WithGroup("g").Info("stopped")`:                                                 false,
		`do := l.Info; do(name)`:                                                           false,
		`slog.Info("stopped")`:                                                             false,
		`slog.New(slog.NewJSONHandler(os.Stderr, nil))`:                                    false,
		`log.Print(name)`:                                                                  false,
		`log.Default().Print(name)`:                                                        false,
		`_ = errors.New("p: " + name)`:                                                     false,
		`_ = fmt.Errorf(name)`:                                                             false,
		`_ = logging.Error(name)`:                                                          false,
	} {
		t.Run(body, func(t *testing.T) {
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, "p.go", head+body+" }", 0)
			if err != nil {
				t.Fatal(err)
			}
			faults := 0
			walk(t, files, "p", []*ast.File{file}, imports, func(c call) {
				c.fault = func(string) { faults++ }
				checkLogged(c, map[string]bool{})
			})
			if sound != (faults == 0) {
				t.Errorf("found %d faults", faults)
			}
		})
	}
}

// A call is a call in our source, or a method of a logger taken as a value.
type call struct {
	in    string // import path
	fun   *types.Func
	args  []ast.Expr
	dots  bool
	conv  types.Type // for a conversion
	value bool       // not called
	info  *types.Info
	fault func(what string)
}

func (c call) constant(i int) (string, bool) {
	if i >= len(c.args) {
		return "", false
	}
	v := c.info.Types[c.args[i]].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

// where the message is among the arguments, by method.
var messageAt = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2,
}

func checkLogged(c call, used map[string]bool) {
	if c.conv != nil {
		if c.conv.String() == module+"logging.Error" && c.info.Types[c.args[0]].Value == nil {
			c.fault("makes a logging.Error of what is no constant")
		}
		return
	}
	if c.fun == nil || c.fun.Pkg() == nil || c.in == module+"logging" {
		return
	}
	name := c.fun.Name()
	of := ""
	if recv := c.fun.Signature().Recv(); recv != nil {
		of = recv.Type().String()
	}
	switch path := c.fun.Pkg().Path(); {
	case path == "log" && name != "New":
		c.fault("writes a log of its own")
	case (path == "errors" && name == "New" || path == "fmt" && name == "Errorf") && !strings.HasPrefix(c.in, module+"bench"):
		if _, ok := c.constant(0); !ok {
			c.fault("makes an error with a text that is no constant")
		}
	case path != "log/slog":
	case of == "*log/slog.Logger":
		checkCall(c, name, used)
	case of == "" && (messageAt[name] > 0 || slices.Contains([]string{"Debug", "Info", "Warn", "Error", "New", "NewJSONHandler", "NewTextHandler", "Default", "SetDefault", "With", "NewLogLogger"}, name)):
		c.fault("does not log through package logging")
	}
}

func checkCall(c call, name string, used map[string]bool) {
	at, logs := messageAt[name]
	switch {
	case name == "Enabled" || name == "Handler":
		return
	case !logs || c.value:
		c.fault("uses " + name + " of a logger, so that nobody sees what is logged")
		return
	}
	message, ok := c.constant(at)
	row, known := logging.Events[message]
	if !ok || !known {
		c.fault("logs what has no row in the table of events: " + message)
		return
	}
	used[message] = true
	if c.dots {
		if !slices.Contains(spread, message) {
			c.fault("logs fields that nobody sees here: " + message)
		}
		return
	}
	for i := at + 1; i < len(c.args); i++ {
		key, ok := c.constant(i)
		var value ast.Expr
		if attr, made := c.args[i].(*ast.CallExpr); !ok && made { // slog.String("key", value)
			inner := call{args: attr.Args, info: c.info}
			if key, ok = inner.constant(0); ok && len(attr.Args) == 2 {
				value = attr.Args[1]
			}
		} else if i++; i < len(c.args) {
			value = c.args[i]
		}
		kind, known := row[key]
		switch {
		case !ok || !known || value == nil:
			c.fault("logs a field that the row of " + message + " does not have: " + key)
		case (kind == logging.Failure) != types.Implements(c.info.Types[value].Type, errorType):
			c.fault("logs an error elsewhere than as a cause, or a cause that is no error: " + key)
		}
	}
}

var errorType = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)

// eachCall gives every call in the packages of the module, tests left out.
func eachCall(t *testing.T, do func(call)) {
	imports := exports(t)
	for _, p := range imports.own {
		files := token.NewFileSet()
		var parsed []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		walk(t, files, p.ImportPath, parsed, imports, do)
	}
}

type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	Module                  *struct{ Main bool }
}

type exported struct {
	own   []listed
	paths map[string]string
}

// exports asks the go command for what the compiler left of every package.
func exports(t *testing.T) exported {
	t.Helper()
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Module", "./...")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all := exported{paths: map[string]string{}}
	for d := json.NewDecoder(out); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all.paths[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			all.own = append(all.own, p)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func walk(t *testing.T, files *token.FileSet, path string, parsed []*ast.File, from exported, do func(call)) {
	t.Helper()
	open := func(path string) (io.ReadCloser, error) { return os.Open(from.paths[path]) }
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	config := types.Config{Importer: importer.ForCompiler(files, "gc", open)}
	if _, err := config.Check(path, files, parsed, info); err != nil {
		t.Fatal(err)
	}
	for _, file := range parsed {
		called := map[ast.Expr]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			c := call{in: path, info: info}
			if n != nil {
				c.fault = func(what string) { t.Errorf("%s: %s", files.Position(n.Pos()), what) }
			}
			switch n := n.(type) {
			case *ast.CallExpr:
				fun := ast.Unparen(n.Fun)
				called[fun] = true
				c.args, c.dots = n.Args, n.Ellipsis.IsValid()
				if info.Types[fun].IsType() {
					c.conv = info.Types[fun].Type
				} else {
					c.fun = function(info, fun)
				}
				do(c)
			case *ast.SelectorExpr:
				if fun := function(info, n); fun != nil && !called[n] && strings.HasPrefix(fun.FullName(), "(*log/slog.Logger)") {
					c.fun, c.value = fun, true
					do(c)
				}
			}
			return true
		})
	}
}

func function(info *types.Info, e ast.Expr) *types.Func {
	var id *ast.Ident
	switch e := e.(type) {
	case *ast.Ident:
		id = e
	case *ast.SelectorExpr:
		id = e.Sel
	default:
		return nil
	}
	f, _ := info.Uses[id].(*types.Func)
	return f
}
