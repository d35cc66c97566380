// SPDX-License-Identifier: EUPL-1.2

package encoding

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type embedded struct {
	Inner string `json:"inner,omitempty"`
}

type document struct {
	embedded
	Epoch uint64   `json:"epoch"`
	Data  Base64   `json:"data,omitempty"`
	Key   KeyID    `json:"key,omitzero"`
	List  []*item  `json:"list,omitempty"`
	Names []string `json:"names,omitempty"`
}

type item struct {
	N int `json:"n"`
}

func TestUnmarshalJSON(t *testing.T) {
	const text = `{"inner":"x","epoch":7,"data":"AQI=","key":"0011223344556677","list":[{"n":1},{"n":2}],"names":["a"]}`
	var got document
	if err := UnmarshalJSON([]byte(" "+text+"\n"), &got); err != nil {
		t.Fatal(err)
	}
	want := document{embedded{"x"}, 7, Base64{1, 2}, KeyID{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77}, []*item{{1}, {2}}, []string{"a"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if again, _ := json.Marshal(got); string(again) != text {
		t.Errorf("writes %s", again)
	}
}

func TestUnmarshalJSONStrictly(t *testing.T) {
	for reason, text := range map[string]string{
		"unknown_key":          `{"epoch":1,"secret123":2}`,
		"unknown_nested_key":   `{"list":[{"secret123":1}]}`,
		"key_twice":            `{"epoch":123456789,"epoch":123456789}`,
		"key_in_another_case":  `{"Epoch":123456789}`,
		"key_twice_by_escape":  `{"epoch":1,"\u0065poch":123456789}`,
		"trailing_data":        `{"epoch":1} {"secret123":2}`,
		"trailing_brace":       `{"epoch":1}}`,
		"null":                 `{"epoch":null}`,
		"null_list":            `{"names":null}`,
		"null_document":        `null`,
		"wrong_type":           `{"epoch":"secret123"}`,
		"number_out_of_range":  `{"epoch":-123456789}`,
		"list_for_an_object":   `["secret123"]`,
		"object_for_a_list":    `{"names":{"secret123":1}}`,
		"base64_not_canonical": `{"data":"secret123"}`,
		"key_id_too_short":     `{"key":"123456789"}`,
		"not_utf8":             "{\"inner\":\"secret123\xff\"}",
		"cut_short":            `{"inner":"secret123"`,
		"empty":                ``,
	} {
		t.Run("rejects/"+reason, func(t *testing.T) {
			err := UnmarshalJSON([]byte(text), &document{})
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			if strings.Contains(err.Error(), "secret123") || strings.Contains(err.Error(), "123456789") {
				t.Errorf("the error repeats what was read: %v", err)
			}
		})
	}
}

func TestUnmarshalJSONNamesThePlace(t *testing.T) {
	err := UnmarshalJSON([]byte("{\n \"list\": [\n  {\"n\": \"x\"}\n ]\n}"), &document{})
	if err == nil || !strings.Contains(err.Error(), "line 3, /list/0/n") {
		t.Errorf("got %v", err)
	}
}

func FuzzUnmarshalJSON(f *testing.F) {
	f.Add([]byte(`{"inner":"x","epoch":7,"data":"AQI=","list":[{"n":1}],"names":["a"]}`))
	f.Add([]byte(`{"epoch":1,"epoch":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var strict, loose document
		if UnmarshalJSON(text, &strict) != nil {
			return
		}
		// Whatever passes strictly means the same to encoding/json.
		if err := json.Unmarshal(text, &loose); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(strict, loose) {
			t.Fatalf("strict %+v, loose %+v", strict, loose)
		}
	})
}
