package gcs

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob/driver"
)

// pageSize is the most that the API gives at once.
const pageSize = 1000

// object is Google's resource of that name: what is sent with an upload, and what is told of
// an object that is there.
// https://cloud.google.com/storage/docs/json_api/v1/objects#resource
type object struct {
	Name               string            `json:"name,omitempty"`
	ContentType        string            `json:"contentType,omitempty"`
	CacheControl       string            `json:"cacheControl,omitempty"`
	ContentDisposition string            `json:"contentDisposition,omitempty"`
	ContentEncoding    string            `json:"contentEncoding,omitempty"`
	ContentLanguage    string            `json:"contentLanguage,omitempty"`
	Metadata           map[string]string `json:"metadata,omitempty"`
	MD5                []byte            `json:"md5Hash,omitempty"`
	CRC32C             []byte            `json:"crc32c,omitempty"` // sent, the content is held against it
	Size               int64             `json:"size,omitempty,string"`
	Etag               string            `json:"etag,omitempty"`
	Created            time.Time         `json:"timeCreated,omitzero"`
	Updated            time.Time         `json:"updated,omitzero"`
}

// Attributes tells of an object without its content.
func (b *bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if key == "" { // which would be the list of all objects
		return nil, errNoKey
	}
	var o object
	if err := b.ask(ctx, http.MethodGet, b.object(key), &o); err != nil {
		return nil, err
	}
	return &driver.Attributes{
		CacheControl:       o.CacheControl,
		ContentDisposition: o.ContentDisposition,
		ContentEncoding:    o.ContentEncoding,
		ContentLanguage:    o.ContentLanguage,
		ContentType:        o.ContentType,
		Metadata:           o.Metadata,
		CreateTime:         o.Created,
		ModTime:            o.Updated,
		Size:               o.Size,
		MD5:                o.MD5,
		ETag:               quoted(o.Etag),
	}, nil
}

// quoted is an ETag as HTTP writes it; JSON has it without quotes.
func quoted(etag string) string {
	if strings.HasPrefix(etag, `"`) || strings.HasPrefix(etag, `W/"`) {
		return etag
	}
	return strconv.Quote(etag)
}

// page is Google's answer to a list.
type page struct {
	Items    []object `json:"items"`
	Prefixes []string `json:"prefixes"`
	Next     string   `json:"nextPageToken"`
}

// ListPaged gives a page of the objects and folders.
func (b *bucket) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if err := before(o.BeforeList); err != nil {
		return nil, err
	}
	query := url.Values{
		"prefix": {o.Prefix}, "delimiter": {o.Delimiter}, "pageToken": {string(o.PageToken)},
		"maxResults": {strconv.Itoa(cmp.Or(o.PageSize, pageSize))},
		"fields":     {"nextPageToken,prefixes,items(name,size,updated,md5Hash)"},
	}
	var got page
	if err := b.ask(ctx, http.MethodGet, b.objects("")+"?"+query.Encode(), &got); err != nil {
		return nil, err
	}
	list := &driver.ListPage{NextPageToken: []byte(got.Next)}
	for _, item := range got.Items {
		list.Objects = append(list.Objects, &driver.ListObject{Key: item.Name, ModTime: item.Updated, Size: item.Size, MD5: item.MD5})
	}
	for _, prefix := range got.Prefixes {
		list.Objects = append(list.Objects, &driver.ListObject{Key: prefix, IsDir: true})
	}
	slices.SortFunc(list.Objects, func(x, y *driver.ListObject) int { return strings.Compare(x.Key, y.Key) })
	return list, nil
}

// Delete is tried again where its answer was lost, and may then not find what it deleted.
func (b *bucket) Delete(ctx context.Context, key string) error {
	return b.ask(ctx, http.MethodDelete, b.object(key), nil)
}

// Copy lets Google copy, which for large objects takes several requests.
func (b *bucket) Copy(ctx context.Context, to, from string, o *driver.CopyOptions) error {
	if err := before(o.BeforeCopy); err != nil {
		return err
	}
	address := b.object(from) + "/rewriteTo/b/" + url.PathEscape(b.name) + "/o/" + url.PathEscape(to)
	query := url.Values{}
	for {
		var progress struct {
			Done  bool   `json:"done"`
			Token string `json:"rewriteToken"`
		}
		if err := b.ask(ctx, http.MethodPost, address+"?"+query.Encode(), &progress); err != nil || progress.Done {
			return err
		}
		query.Set("rewriteToken", progress.Token)
	}
}
