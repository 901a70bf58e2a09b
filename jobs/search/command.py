"""`vqa-ray search`: the images of an index that are most like a text or an image, verified by a VQA model."""

from __future__ import annotations

from vqa_ray.errors import RequestError
from vqa_ray.index.reader import open_index
from vqa_ray.index.search.filter import Mask
from vqa_ray.index.search.hits import Ranked, apply_verdicts, hits_table
from vqa_ray.index.search.query import encoder_of
from vqa_ray.index.search.row_table import IndexRows
from vqa_ray.index.search.searcher import Searcher
from vqa_ray.index.search.verify import Verifier
from vqa_ray.index.source_images import SourceImages
from vqa_ray.jobs.runtime.answer_cache import compacted_cache, keep_answers
from vqa_ray.jobs.runtime.output_file import check_file, check_page
from vqa_ray.jobs.search import output as search_output
from vqa_ray.jobs.search.outcome import Outcome
from vqa_ray.jobs.search.query import pictures, query_of, verification_from_spec
from vqa_ray.jobs.search.spec import FILES, SearchSpec


def run(spec: SearchSpec) -> None:
    """Search, and print or write what was found."""
    check_page(spec.gallery)
    if spec.output.endswith(FILES):
        check_file("--output", spec.output)
    check = verification_from_spec(spec)
    index = open_index(spec.index)
    model = encoder_of(index.version, spec.model)
    if not index.version.ok:
        raise RequestError(f"{spec.index}: nothing to search: none of its {len(index):,} rows has a vector")
    rows = IndexRows(index, spec.tags)
    filter = None if spec.filter is None else _filter(rows, spec.filter)
    query = query_of(spec, model)
    hits = Searcher(index).search(query, top_k=spec.wanted, filter=filter, exact=True if spec.exact else None)
    ranked, verified = Ranked(hits.positions, hits.scores), None
    if check is not None:
        with compacted_cache(spec):
            verified = Verifier(check, SourceImages(index))(hits.positions.tolist(), spec.top_k)
            keep_answers(check.model.cache)
        ranked = apply_verdicts(hits.positions, hits.scores, verified, spec.top_k)
    table = hits_table(ranked, rows.take(ranked.positions))
    outcome = Outcome(spec, index, model, rows.tagged, hits, verified, table)
    search_output.write(outcome, spec.output)
    if spec.gallery is not None:
        search_output.write_page(outcome, pictures(spec, index, ranked.positions.tolist()), spec.gallery)
    outcome.log()


def _filter(rows: IndexRows, condition: str) -> Mask:
    try:
        return rows.matching(condition)
    except RequestError as error:
        raise RequestError(f"--filter: {error}; in a shell: --filter \"category = 'mug'\"") from error
