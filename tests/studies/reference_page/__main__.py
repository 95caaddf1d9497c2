from tests.studies.reference_page.pages import main

main()
